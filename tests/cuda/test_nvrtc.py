"""Every kernel compiles for two architectures without a GPU, spills nothing, and moves matrices 16 bytes at a time."""

import pytest

from k2lib.cuda import nvrtc, source

T = ("bf16", "float")
KERNELS = [("quantize_fp8", f"quantize_{kind}<{t}>") for kind in ("rows", "blocks") for t in T]
KERNELS += [("dequantize_fp8", f"dequantize<{t}, {rows}>") for t in T for rows in (1, 128)]
KERNELS += [("swiglu_fp8", f"swiglu_{way}<{t}>") for way in ("forward", "backward") for t in T]
KERNELS += [("add_rmsnorm", f"{way}<{t}, 4>") for way in ("forward", "backward") for t in T]
KERNELS += [("moe_permute", f"{step}<{t}>") for step in ("permute", "unpermute", "permute_fp8") for t in T]
KERNELS += [("qk_clip", f"rescale<{t}>") for t in T] + [("router", "choose<12>")]
KERNELS += [("max_logit", "largest_norm"), ("max_logit", "largest_logit<192>")]
BY_NUMBER = {"router", "max_logit"}  # they move little, or fragments of a tensor core's layout
FROM_FP8 = {"dequantize"}  # eight numbers of one byte
TO_FP8 = {"quantize_rows", "quantize_blocks", "permute_fp8"}


@pytest.fixture(autouse=True)
def compiler(tmp_path, monkeypatch):
    try:
        nvrtc.library()
    except RuntimeError as error:
        pytest.skip(str(error))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))


def test_every_file_is_in_the_list():
    assert {file for file, _ in KERNELS} == set(source.names())


@pytest.fixture
def disassembler():
    try:
        nvrtc.disassembler()
    except RuntimeError as error:
        pytest.skip(str(error))


def test_nothing_of_the_machine_code_is_read_where_there_is_none(monkeypatch):
    monkeypatch.setattr(nvrtc.sysconfig, "get_path", lambda _: "/nowhere")
    monkeypatch.setattr(nvrtc.shutil, "which", lambda _: None)
    with pytest.raises(RuntimeError, match=r"nvdisasm is not here; `pip install k2lib\[kernels\]` brings it"):
        nvrtc.disassembler()


def test_a_spill_and_a_narrow_load_are_seen(tmp_path, monkeypatch, disassembler):
    (tmp_path / "greedy.cu").write_text(
        "__global__ void f(const float* x, float* y, int n) {\n"
        "    float many[64] = {};\n"
        "    for (int i = 0; i < n; ++i) many[int(x[i]) % 64] += x[i];\n"  # an index that is not known: no registers
        "    y[n] = many[n % 64];\n"
        "}\n"
    )
    monkeypatch.setattr(source, "KERNELS", tmp_path)
    found = nvrtc.usage("greedy", "f", "sm_90a")
    assert found.spilled > 0 and set(found.loads) == {4} and set(found.stores) == {4}


@pytest.mark.parametrize("arch", ["sm_80", "sm_90a"])
@pytest.mark.parametrize("file, kernel", KERNELS)
def test_a_kernel_compiles_spills_nothing_and_moves_whole_vectors(file, kernel, arch, disassembler):
    image, mangled = nvrtc.cubin(file, kernel, arch)
    name = kernel.split("<")[0]
    assert image[:4] == b"\x7fELF" and name in mangled
    found = nvrtc.usage(file, kernel, arch)
    assert found.spilled == 0 and 0 < found.registers <= 255
    if file not in BY_NUMBER:
        assert found.loads.get(8 if name in FROM_FP8 else 16, 0) > 0
        assert found.stores.get(8 if name in TO_FP8 else 16, 0) > 0


def test_what_was_compiled_is_kept_and_read_again(tmp_path, monkeypatch):
    first = nvrtc.cubin("router", "choose<12>", "sm_90a")
    (kept,) = (tmp_path / "k2lib" / "kernels").iterdir()
    monkeypatch.setattr(nvrtc, "_program", None)
    assert nvrtc.cubin("router", "choose<12>", "sm_90a") == first and kept.suffix == ".cubin"


def test_an_error_names_file_and_line(tmp_path, monkeypatch):
    (tmp_path / "typo.cu").write_text("__global__ void f(float* x) {\n    x[0] = undeclared;\n}\n")
    monkeypatch.setattr(source, "KERNELS", tmp_path)
    with pytest.raises(RuntimeError, match=r"typo.cu\(2\): error: identifier .undeclared. is undefined"):
        nvrtc.cubin("typo", "f", "sm_90a")
