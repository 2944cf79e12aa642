"""Comparisons with peers run, agree with them, and end with one line of JSON."""

import json
import sys
from functools import partial

import pytest
import torch
from torch.utils._pytree import tree_leaves

from k2lib.bench import decode, kernels, memory, model, optim, rl, rollouts
from k2lib.cli import main
from k2lib.cli.bench import NAMES
from k2lib.config import K2Config
from k2lib.corpus import arithmetic
from k2lib.cuda import fp8, moe, norm
from k2lib.cuda.kernel import Kernel
from k2lib.gym.budgeted import Budgeted
from k2lib.gym.mathematics import Mathematics
from k2lib.model import K2Model
from k2lib.optim import MuonClip
from k2lib.places import PACKAGE
from k2lib.profiles import SMOKE

SMALL = SMOKE.model | {"vocab_size": 128, "num_hidden_layers": 2}


@pytest.fixture(autouse=True)
def small(monkeypatch, artifacts):
    """Sizes that take a second."""
    for module in (model, decode, memory, optim, rl, rollouts):
        monkeypatch.setattr(module, "CONFIG", SMALL)
    for name, value in {"PROMPTS": 2, "SAMPLES": 2, "ANSWER": 6}.items():
        monkeypatch.setattr(rl, name, value)
    for name, value in {"SEQUENCES": 2, "PROMPT": 8, "NEW": 4}.items():
        monkeypatch.setattr(decode, name, value)
    monkeypatch.setattr(optim, "SQUARE", (3, 32, 32))
    monkeypatch.setattr(optim, "EXPERTS", (2, 4, 32, 16))
    for module in (model, memory, optim):
        monkeypatch.setattr(module, "BATCH", 2)
        monkeypatch.setattr(module, "LENGTH", 16)


def test_decoding_says_the_peers_tokens_and_reports_both_times(capsys):
    found = decode.run("float32", rounds=2)
    assert found == json.loads(capsys.readouterr().out.splitlines()[-1])
    assert found["extra"]["k2lib"]["equal tokens"] == 1.0
    assert all(times["rounds"] == 2 and times["median"] > 0 for times in found["seconds"].values())


def test_a_training_step_is_timed_beside_the_peers(capsys):
    found = model.run("float32", rounds=1)
    assert list(found["seconds"]) == ["k2lib", "transformers", "transformers, eager attention"]
    assert found["extra"]["k2lib"]["share of the GEMM rate"] > 0
    assert found["provenance"]["versions"]["transformers"]


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_an_optimizers_step_is_timed_beside_the_peers_and_what_the_clip_costs(dtype, capsys):
    found = optim.run(dtype, rounds=2)
    muon = [name for name in found["seconds"] if name == "torch.optim.Muon"]
    assert bool(muon) == (dtype == "bfloat16") and next(iter(found["seconds"])) == "k2lib MuonClip"
    assert 0 < found["extra"]["k2lib MuonClip"]["QK-Clip's share of a step"] < 1
    assert found["extra"]["k2lib MuonClip"]["share of the GEMM rate"] > 0
    assert "GFLOP" in capsys.readouterr().out


def test_the_peers_get_the_same_matrices_and_move_them_as_we_do():
    stacks = [torch.nn.Parameter(torch.randn(3, 32, 16)), torch.nn.Parameter(torch.randn(16, 32))]
    for stack in stacks:
        stack.grad = torch.randn_like(stack)
    ways, before = optim._muons(stacks), [p.detach().clone() for p in stacks]
    peers = ways["torch.optim.Muon"].__self__
    optim.MuonClip(stacks, lr=1e-4, ns_dtype=torch.bfloat16).step()
    ways["torch.optim.Muon"]()
    moved = torch.cat([(p.detach() - b).flatten() for p, b in zip(stacks, before, strict=True)])
    theirs = torch.cat([p.detach().flatten() for group in peers.param_groups for p in group["params"]])
    start = torch.cat([b.flatten() for b in before])
    assert (theirs - start - moved).norm() < 0.05 * moved.norm()


def test_the_frontier_has_every_policy_and_every_way_of_the_peers(capsys):
    found = memory.run("bfloat16", rounds=1)
    ours = [name for name in found["extra"] if name.startswith(memory.OURS)]
    assert ours == [f"{memory.OURS}{name}" for name in memory.POLICIES]
    assert len(found["extra"]) == len(ours) + 6 and set(found["extra"]) == set(found["seconds"])
    kept = {name: numbers["MiB on the device"] for name, numbers in found["extra"].items()}
    assert kept["k2lib, keep everything"] > kept["k2lib, recompute"] > kept["k2lib, layers"]
    assert kept["transformers, eager"] > kept["transformers, eager, checkpointing"]
    assert "transformers, sdpa" in capsys.readouterr().out


def test_without_a_gpu_the_kernels_floors_are_printed(capsys):
    floors = kernels.run()
    out = capsys.readouterr().out
    assert "nothing timed" in out and all(name in out for name in floors)
    assert floors["quantize_fp8"] == pytest.approx(41e-6, rel=0.02)  # 8192 × 7168 numbers, 3.03 bytes each
    assert floors["swiglu_fp8 forward"] == pytest.approx(252e-6, rel=0.01)
    with pytest.raises(ValueError, match="timed in bfloat16"):
        kernels.run("float32")


@pytest.mark.parametrize("name", kernels.CASES)
def test_what_a_kernel_is_timed_against_computes_the_same(name, monkeypatch):
    for size, value in {"TOKENS": 16, "WIDTH": 256, "EXPERT": 128, "ACTIVE": 2, "EXPERTS": 32}.items():
        monkeypatch.setattr(kernels, size, value)
    for module in (fp8, norm, moe):
        for function in (f for f in vars(module).values() if "run" in getattr(f, "__annotations__", {})):
            monkeypatch.setattr(module, function.__name__, partial(function, run=Kernel.simulate))
    torch.manual_seed(0)
    ours, formula = kernels.CASES[name].make(torch.device("cpu"))
    for mine, other in zip(tree_leaves(ours()), tree_leaves(formula()), strict=False):  # a norm gives 1/rms as well
        torch.testing.assert_close(mine.float(), other.float(), rtol=2**-7, atol=1e-5)


def test_the_command_knows_every_comparison_and_refuses_what_one_lacks(capsys):
    files = {path.stem for path in (PACKAGE / "bench").glob("*.py")} - {"__init__", "rounds"}
    assert set(NAMES) == files
    assert main(["bench", "decode", "--compiled"]) == 2
    assert "an option of `k2 bench model`" in capsys.readouterr().err


def test_rollouts_are_finished_to_the_same_lengths_with_and_without_pauses(tiny_tokenizer, monkeypatch):
    monkeypatch.setattr(rollouts, "AT_ONCE", 2)
    monkeypatch.setattr(rollouts, "SAMPLES", 2)
    small = K2Model(K2Config.preset("nano").replace(**SMALL | {"vocab_size": tiny_tokenizer.vocab_size})).eval()
    problems = [Budgeted(Mathematics(one), 3 + 4 * n) for n, one in enumerate(arithmetic.problems(5, 0))]
    for allowance in (4, None):
        groups = rollouts.finished(small, tiny_tokenizer, problems, allowance)
        assert sorted(group.number for group in groups) == [0, 1, 2, 3, 4] and all(group.over for group in groups)
        lengths = {group.number: [sum(one.mask) for one in group.episodes] for group in groups}
        assert all(max(lengths[n]) <= 3 + 4 * n for n in range(5)) and max(lengths[4]) > 4


def test_an_iteration_of_rl_is_timed_part_by_part(tiny_tokenizer):
    small = K2Model(K2Config.preset("nano").replace(**SMALL | {"vocab_size": tiny_tokenizer.vocab_size}))
    problems = [Budgeted(Mathematics(problem), 6) for problem in arithmetic.problems(2, 0)]
    spent = rl.iteration(small, tiny_tokenizer, problems, MuonClip.for_model(small, lr=1e-4), 0)
    assert list(spent) == ["rollout", "reward", "train"] and all(seconds > 0 for seconds in spent.values())


def test_an_iteration_of_rl_is_timed_beside_trls(monkeypatch):
    pytest.importorskip("trl")
    monkeypatch.setattr(rl, "CONFIG", SMALL | {"vocab_size": 400})
    found = rl.run("float32", rounds=2)
    assert list(found["seconds"]) == ["k2lib", "TRL GRPOTrainer"]
    assert all(times["rounds"] == 2 and times["median"] > 0 for times in found["seconds"].values())


def test_without_trl_it_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "trl", None)
    monkeypatch.setattr(rl, "CONFIG", SMALL | {"vocab_size": 400})
    with pytest.raises(ModuleNotFoundError, match="pip install trl"):
        rl.run("float32", rounds=1)
