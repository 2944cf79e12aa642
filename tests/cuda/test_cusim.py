"""The simulator: planted faults are reported with block and thread, legal code runs, wrong calls are refused."""

import shutil
from pathlib import Path

import pytest
import torch
from torch import Tensor

from k2lib.cli import main
from k2lib.cuda import nvrtc, source
from k2lib.cuda.kernel import Kernel, missing

DOWNWARDS = 63.0 - torch.arange(64)


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    """A kernels folder of this test's own, with the planted faults in it."""
    for path in (*source.KERNELS.glob("*"), Path(__file__).parent / "broken.cu"):
        shutil.copy(path, tmp_path)
    monkeypatch.setattr(source, "KERNELS", tmp_path)
    return tmp_path


def run(name: str, *, shared: int = 0, order: int = 1) -> Tensor:
    out = torch.full((64,), torch.nan)
    Kernel("broken", name, (Tensor,)).simulate((1,), (64,), out, shared=shared, order=order)
    return out


@pytest.mark.parametrize(
    "name, said",
    [
        ("divergent_shuffle", "deadlock: waits in .* for threads that never come"),
        ("divergent_barrier", "deadlock: waits in .* for threads that never come"),
        ("mixed_collectives", "in another collective"),
        ("wrong_mask", "mask 0000ffff leaves the calling lane out"),
        ("reads_exited_lane", "a shuffle reads lane 2[0-9], which takes no part"),
        ("traps", r"block \(0,0,0\), thread \(3,0,0\): __trap"),
        ("shared_overflow", "wrote past the dynamic shared memory"),
    ],
)
def test_a_planted_fault_is_reported_and_the_next_launch_is_sound(name, said):
    with pytest.raises(RuntimeError, match=said):
        run(name, shared=256)
    assert run("half_warps")[0] == 31 + 29 + 16


def test_a_missing_barrier_shows_in_one_of_two_orders_and_a_barrier_in_none():
    assert not all(torch.equal(run("missing_barrier", order=order), DOWNWARDS) for order in (1, -1))
    assert all(torch.equal(run("with_barrier", order=order), DOWNWARDS) for order in (1, -1, 7))


def test_uninitialised_shared_memory_is_nan():
    assert run("uninitialised_shared", shared=256).isnan().all()


def test_numbers_arrive_as_they_were_given_and_atomics_lose_nothing():
    out = torch.zeros(4)
    Kernel("broken", "counts", (Tensor, int, float)).simulate((3,), (64,), out, 5, 0.25)
    assert out.tolist() == [3 * 64 * 5 * 0.25, 0.0, 0.0, 0.0]


def test_a_wrong_call_is_refused_before_anything_runs():
    counts = Kernel("broken", "counts", (Tensor, int, float))
    out = torch.zeros(8)
    with pytest.raises(TypeError, match="counts takes Tensor int float, got Tensor float float"):
        counts.simulate((1,), (32,), out, 5.0, 0.25)
    with pytest.raises(TypeError, match="got Tensor int"):
        counts.simulate((1,), (32,), out, 5)
    with pytest.raises(TypeError, match="got Tensor bool float"):
        counts.simulate((1,), (32,), out, True, 0.25)
    with pytest.raises(ValueError, match="does not start at a multiple of 16 bytes"):
        counts.simulate((1,), (32,), out[1:], 5, 0.25)
    with pytest.raises(ValueError, match="not contiguous"):
        counts.simulate((1,), (32,), out[::2], 5, 0.25)
    with pytest.raises(ValueError, match="move them to one device"):
        Kernel("broken", "x", (Tensor, Tensor)).simulate((1,), (32,), out, out.to("meta"))
    with pytest.raises(ValueError, match="runs on a GPU"):
        counts((1,), (32,), out, 5, 0.25)
    with pytest.raises(TypeError, match=r"takes arguments of .8, 8, 4. bytes, got .8, 8."):
        Kernel("broken", "counts", (Tensor, int)).simulate((1,), (32,), out, 5)
    with pytest.raises(RuntimeError, match="more than 1024 threads"):
        counts.simulate((1,), (2048,), out, 5, 0.25)
    assert out.abs().max() == 0


def test_what_is_missing_for_a_launch_is_said_in_a_sentence(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    answers = {"no GPU": missing.__wrapped__()}
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    answers["no CuPy"] = missing.__wrapped__()
    monkeypatch.setattr("importlib.util.find_spec", lambda name: name)
    monkeypatch.setattr(nvrtc, "library", lambda: None)
    assert missing.__wrapped__() is None

    def no_library():
        raise RuntimeError("NVRTC is not here; `pip install k2lib[kernels]` brings it")

    monkeypatch.setattr(nvrtc, "library", no_library)
    answers["no NVRTC"] = missing.__wrapped__()
    assert "sees no GPU" in answers["no GPU"] and "pip install k2lib[cuda]" in answers["no CuPy"]
    assert "NVRTC is not here" in answers["no NVRTC"]


def test_what_does_not_compile_is_shown_with_file_and_line(folder):
    (folder / "typo.cu").write_text('#include "common.cuh"\n__global__ void f(float* x) { x[0] = undeclared; }\n')
    with pytest.raises(RuntimeError, match=r"typo.cu does not compile:(.|\n)*undeclared"):
        Kernel("typo", "f", (Tensor,)).simulate((1,), (1,), torch.zeros(4))
    with pytest.raises(ValueError, match="there is no kernel 'nowhere'; kernels/ holds add_rmsnorm, broken"):
        source.expand("nowhere")


def test_an_edited_header_compiles_anew(folder):
    text = '#include "small.cuh"\nextern "C" __global__ void f(float* x) { x[threadIdx.x] = kValue; }\n'
    (folder / "edited.cu").write_text(text)
    for value in (1.0, 2.0):
        (folder / "small.cuh").write_text(f"constexpr float kValue = {value};\n")
        out = torch.zeros(4)
        Kernel("edited", "f", (Tensor,)).simulate((1,), (4,), out)
        assert out.tolist() == [value] * 4


def test_the_command_lists_kernels_and_runs_them(capsys):
    assert main(["kernel", "list"]) == 0 and "quantize_fp8     FP8 (E4M3) storage" in capsys.readouterr().out
    assert main(["kernel", "run", "quantize_fp8", "--rows", "3", "--columns", "130"]) == 0
    out = capsys.readouterr().out
    assert "3 × 130" in out and "error against fp64: 2." in out
    for name in set(source.names()) - {"broken"}:
        assert main(["kernel", "run", name, "--rows", "16", "--columns", "40"]) == 0
        error = float(capsys.readouterr().out.split("error against fp64: ")[1].split()[0])
        assert 0 <= error < 0.05, name
    assert main(["kernel", "run", "nope"]) == 2 and "choose one of quantize_fp8" in capsys.readouterr().err
    assert main(["kernel", "run"]) == 2 and "name a kernel to run" in capsys.readouterr().err
