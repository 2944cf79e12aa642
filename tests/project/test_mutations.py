"""Tests of the tests: wrong maths, stale claims and changed numbers, planted one by one in a copy, are each caught.

Every mutation is one replacement in one file and names the check that must fail because of it. A mutation that nobody
catches is a hole in the net; one whose text is gone says that this list must follow the code.
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[2]
COPIED = "k2lib tests data notebooks kernels README.md pyproject.toml constraints.txt environment.yml".split()

MUTATIONS = {
    "a clip without the square root": (
        "k2lib/optim/qk_clip.py",
        "gamma**part.exponent * excess",
        "gamma**1.0 * excess",
        "tests/optim/test_muonclip.py::test_a_clipped_heads_logits_shrink_by_exactly_gamma_and_nothing_else_moves",
    ),
    "values clipped with the keys": (
        "k2lib/model/attention.py",
        "QKPart(self.kv_b_proj.weight, heads, 0, c.qk_nope_head_dim, 0.5)",
        "QKPart(self.kv_b_proj.weight, heads, 0, c.qk_nope_head_dim + c.v_head_dim, 0.5)",
        "tests/optim/test_muonclip.py::test_a_clipped_heads_logits_shrink_by_exactly_gamma_and_nothing_else_moves",
    ),
    "the rotary query clipped by half": (
        "k2lib/model/attention.py",
        "QKPart(query, heads, c.qk_nope_head_dim, c.qk_head_dim, 1.0)",
        "QKPart(query, heads, c.qk_nope_head_dim, c.qk_head_dim, 0.5)",
        "tests/optim/test_muonclip.py::test_a_clipped_heads_logits_shrink_by_exactly_gamma_and_nothing_else_moves",
    ),
    "the shared rotary key clipped": (
        "k2lib/model/attention.py",
        "QKPart(query, heads, c.qk_nope_head_dim, c.qk_head_dim, 1.0),",
        "QKPart(self.kv_a_proj_with_mqa.weight[c.kv_lora_rank :], 1, 0, c.qk_rope_head_dim, 1.0),",
        "tests/optim/test_muonclip.py::test_a_clipped_heads_logits_shrink_by_exactly_gamma_and_nothing_else_moves",
    ),
    "softmax for sigmoid routing": (
        "k2lib/model/moe.py",
        "scores = logits.sigmoid()",
        "scores = logits.softmax(-1)",
        "tests/model/test_parity.py::test_logits_equal_those_of_transformers",
    ),
    "momentum left out of Muon": (
        "k2lib/optim/muonclip.py",
        'alpha=group["momentum"]',
        "alpha=0.0",
        "tests/optim/test_muonclip.py::test_updates_agree_with_torch_muon_within_bf16",
    ),
    "no baseline in the RL objective": (
        "k2lib/rl/objective.py",
        "residual = (rewards - baseline",
        "residual = (rewards",
        "tests/rl/test_rl.py::test_loss_and_gradient_are_the_papers",
    ),
    "a fidelity check that ignores numbers": (
        "k2lib/synth/fidelity.py",
        '*_counted("number", _NUMBER.findall(source), _NUMBER.findall(rewrite)),',
        "",
        "tests/synth/test_rephrasing.py::test_each_reason_is_given",
    ),
    "FP8 scales that forget the outlier": (
        "k2lib/memory/fp8.py",
        ".amax((-3, -1))",
        ".mean((-3, -1))",
        "tests/memory/test_fp8_tiles.py::test_every_number_comes_back_within_half_a_step",
    ),
    "tokens counted again when a layer runs again": (
        "k2lib/model/regions.py",
        "torch.compiler.is_compiling() or not running_again.get()",
        "True",
        "tests/memory/test_activations.py::test_the_second_run_counts_no_token_twice",
    ),
    "a part that runs again in another precision": (
        "k2lib/memory/recompute.py",
        "torch.autocast(**self.precision)",
        "torch.autocast(self.precision['device_type'], enabled=False)",
        "tests/memory/test_activations.py::test_recomputation_and_offload_leave_every_gradient_bit_identical",
    ),
    "layers that come home one too late": (
        "k2lib/memory/offload.py",
        "return forward_pass, layer - 1",
        "return forward_pass, layer",
        "tests/memory/test_offload.py::test_one_layer_at_a_time_is_at_home",
    ),
    "a claim reworded without running its notebook": (
        "data/claims.yaml",
        "in transformers give the same logits",
        "in transformers give similar logits",
        "tests/project/test_repository.py::test_the_committed_verdicts_quote_the_claims_as_they_stand",
    ),
}


@pytest.fixture(scope="module")
def copy(tmp_path_factory):
    """The repository without its history and environment."""
    folder = tmp_path_factory.mktemp("mutated")
    for name in COPIED:
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
        elif source.exists():
            shutil.copy(source, folder / name)
    return folder


def run(folder: Path, node: str) -> subprocess.CompletedProcess:
    environment = os.environ | {"PYTHONPATH": str(folder), "PYTHONDONTWRITEBYTECODE": "1", "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", "-p", "no:xdist", node]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=300)


@pytest.mark.parametrize("name", MUTATIONS)
def test_a_planted_fault_is_caught(copy, name):
    file, right, wrong, node = MUTATIONS[name]
    path = copy / file
    text = path.read_text(encoding="utf-8")
    assert text.count(right) >= 1, f"{file} no longer holds {right!r}; the list of mutations must follow the code"
    path.write_text(text.replace(right, wrong), encoding="utf-8")
    try:
        done = run(copy, node)
    finally:
        path.write_text(text, encoding="utf-8")
    assert done.returncode == 1 and " failed" in done.stdout, (
        f"nobody noticed {name}:\n{done.stdout[-1500:]}{done.stderr[-500:]}"
    )


def test_the_copy_passes_without_a_mutation(copy):
    nodes = [node for *_, node in MUTATIONS.values() if "test_repository" not in node]
    for node in dict.fromkeys(nodes):
        done = run(copy, node)
        assert done.returncode == 0, done.stdout[-1500:] + done.stderr[-500:]


def test_a_changed_committed_number_is_caught(copy):
    import json

    results = sorted((copy / "data" / "results").glob("*/laptop/*.json"))
    assert results, "data/results holds no committed laptop run"
    path = next(p for p in results if json.loads(p.read_text())["records"])
    text = path.read_text(encoding="utf-8")
    content = json.loads(text)
    content["records"][0]["value"] += 0.5
    path.write_text(json.dumps(content), encoding="utf-8")
    try:
        done = run(copy, "tests/project/test_repository.py::test_readmes_claims_table_is_current")
    finally:
        path.write_text(text, encoding="utf-8")
    assert done.returncode == 1, done.stdout[-1500:]
