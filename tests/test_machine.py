"""Where and in which precision the kit computes: measured, overruled by hand, and nowhere else than in machine.py."""

import dataclasses
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from second_device import NAME, Placed, second_device

from k2lib import machine, profiles, stages
from k2lib.machine import HOST, Rates
from k2lib.memory.policy import k2_policy
from k2lib.optim import newton_schulz
from k2lib.studies import fp8, growth, routing
from k2lib.studies.kept import kept_bytes

PACKAGE = Path(machine.__file__).parent
SLOW, FAST = Rates({"float32": 60.0, "bfloat16": 1.0}, 10.0), Rates({"float32": 60.0, "bfloat16": 90.0}, 10.0)


@pytest.fixture(autouse=True)
def bare(monkeypatch, tmp_path):
    """No wishes from outside, and a cache of this test's own."""
    for name in ("K2_DEVICE", "K2_DTYPE", "K2_THREADS", "OMP_NUM_THREADS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    machine._rates.cache_clear()
    yield
    machine._rates.cache_clear()


def measures(monkeypatch, found: Rates) -> list[torch.device]:
    """Lets every measurement find these rates; the devices that were measured."""
    measured = []
    monkeypatch.setattr(machine, "measure", lambda where, threads: measured.append(where) or found)
    return measured


def test_a_real_measurement_finds_positive_rates():
    found = machine.measure(HOST, 1)
    assert found.gflops.keys() == set(machine.DTYPES)
    assert all(rate > 0 for rate in [*found.gflops.values(), found.bandwidth])


def test_bf16_is_used_where_it_is_measurably_faster_and_only_there(monkeypatch):
    for found, dtype in (
        (SLOW, "float32"),
        (FAST, "bfloat16"),
        (Rates({"float32": 60.0, "bfloat16": 70.0}, 1), "float32"),
    ):
        machine._rates.cache_clear()
        monkeypatch.setenv("XDG_CACHE_HOME", f"/nowhere/{dtype}")  # a cache that cannot be written is no error
        measures(monkeypatch, found)
        assert machine.compute_dtype(HOST) == dtype
        assert newton_schulz(torch.randn(4, 8)).dtype == getattr(torch, dtype)
        with machine.precision(HOST):
            assert (torch.ones(2, 2) @ torch.ones(2, 2)).dtype == getattr(torch, dtype)


def test_a_boot_is_measured_once_and_another_boot_again(monkeypatch):
    measured = measures(monkeypatch, FAST)
    for boot in ("one", "one", "two"):
        monkeypatch.setattr(machine, "_boot", lambda boot=boot: boot)
        machine._rates.cache_clear()  # as in a new process
        assert machine.rates(HOST) == FAST
    assert len(measured) == 2


@pytest.mark.parametrize(
    ("name", "value", "asked", "said"),
    [
        ("K2_DTYPE", "float16", machine.compute_dtype, "K2_DTYPE is 'float16'; set it to float32, bfloat16 or auto"),
        ("K2_DEVICE", "gpu", machine.device, "K2_DEVICE is 'gpu'; set it to a PyTorch device"),
        ("K2_DEVICE", "cuda:99", machine.device, "K2_DEVICE is 'cuda:99', but PyTorch sees . GPUs"),
        ("K2_THREADS", "many", machine.threads, "K2_THREADS is 'many'; set it to a number of threads"),
        ("OMP_NUM_THREADS", "0", machine.threads, "OMP_NUM_THREADS is '0'; set it to a number of threads"),
    ],
)
def test_a_wish_that_cannot_be_met_is_refused_by_name(monkeypatch, name, value, asked, said):
    monkeypatch.setenv(name, value)
    with pytest.raises(ValueError, match=said):
        asked()


def test_wishes_overrule_the_measurement(monkeypatch):
    measures(monkeypatch, SLOW)
    monkeypatch.setenv("K2_DTYPE", "bfloat16")
    monkeypatch.setenv("K2_DEVICE", "cpu")
    monkeypatch.setenv("K2_THREADS", "3")
    assert (machine.compute_dtype(), machine.device(), machine.threads()) == ("bfloat16", HOST, 3)
    with pytest.raises(ValueError, match="compute dtype 'float16' is not supported"):
        machine.precision(HOST, "float16")


@pytest.mark.parametrize("wish", [None, "float32"])
def test_another_dtype_holds_for_a_while(monkeypatch, wish):
    measures(monkeypatch, SLOW)
    monkeypatch.delenv("K2_DTYPE", raising=False)
    if wish:
        monkeypatch.setenv("K2_DTYPE", wish)
    with pytest.raises(KeyError), machine.computing_in("bfloat16"):
        assert machine.compute_dtype() == "bfloat16"
        raise KeyError
    assert os.environ.get("K2_DTYPE") == wish and machine.compute_dtype() == "float32"


def test_threads_are_the_physical_cores(monkeypatch):
    monkeypatch.setattr(machine.os, "sched_getaffinity", lambda _: {0, 1, 2, 3})
    monkeypatch.setattr(machine, "_core", lambda cpu: (0, cpu // 2))  # two hyper-threads a core
    monkeypatch.setattr(machine, "_share", lambda: 64)
    machine.cores.cache_clear()
    assert (machine.threads(), machine.threads(most=1)) == (2, 1)
    monkeypatch.setattr(machine, "_share", lambda: 1)  # a container with one processor's time
    machine.cores.cache_clear()
    assert machine.threads() == 1
    machine.cores.cache_clear()


def test_threads_that_wait_sleep_and_a_person_may_overrule_it():
    code = "import k2lib, os, sys; print(os.environ['OMP_WAIT_POLICY'], 'torch' in sys.modules)"
    for own, said in (({}, "PASSIVE False"), ({"OMP_WAIT_POLICY": "ACTIVE"}, "ACTIVE False")):
        environment = {name: value for name, value in os.environ.items() if name != "OMP_WAIT_POLICY"} | own
        done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
        assert done.stdout.strip() == said  # set before PyTorch loads, which is when it is read


def test_no_other_file_names_a_device():
    device = re.compile(r"""["']cpu["']|["']cuda|torch\.(cpu|cuda)\.""")
    files = [path for path in PACKAGE.rglob("*.py") if path.name != "machine.py" and path.parent.name != "cuda"]
    lines = [(path.name, line.strip()) for path in files for line in path.read_text().splitlines()]
    named = [f"{name}: {line}" for name, line in lines if device.search(line)]
    assert named == []


TINY = dataclasses.replace(
    profiles.SMOKE,
    model=profiles.SMOKE.model | dict(vocab_size=512, hidden_size=32, num_hidden_layers=2, n_routed_experts=4),
    corpus=profiles.CorpusSize(20_000, 6, 2, 60, 8, 512, 20, shard_tokens=1 << 14),
    pretrain=profiles.TrainSize(3, 4, 32, 1e-2, 1),
    copy=profiles.TrainSize(2, 3, 32, 1e-2, 1),
    recite=profiles.TrainSize(2, 3, 32, 1e-2, 1),
    routing=profiles.RoutingSize(2, 2, 16, 1e-2, 1e-2, 1),
    growth=dataclasses.replace(
        profiles.SMOKE.growth,
        steps=2,
        batch_size=2,
        seq_len=16,
        tau=0.01,
        large=profiles.StudyModel({"hidden_size": 32}, 1e-2, 1e-2),
    ),
    memory=profiles.MemorySize(2, 16, 2, 1, 1),
    agentic=profiles.AgenticSize(categories=2, children=0, per_domain=2, tasks=60, heldout_tasks=4),
    sft=profiles.TrainSize(2, 2, 1536, 1e-3, 1),
    rl=dataclasses.replace(
        profiles.SMOKE.rl, steps=2, prompts=2, samples=2, candidates=6, development=2, check_every=1, heldout=4
    ),
)


def life(monkeypatch, artifacts: Path) -> dict:
    """What every stage and study of a tiny model's life measured, on whatever device K2_DEVICE says."""
    monkeypatch.setenv("K2_ARTIFACTS", str(artifacts))
    base, sft, rl = stages.base(TINY), stages.sft(TINY), stages.rl(TINY)
    kept = kept_bytes(
        base.model, torch.randint(0, 512, (2, 17), generator=torch.Generator().manual_seed(0)), k2_policy()
    )
    return {
        "base": [record["loss"] for part in ("history", "copying", "recitals") for record in base.training[part]],
        "sft": [record["loss"] for record in sft.training["history"]],
        "rl": [step["loss"] for step in rl.training["history"]],
        "rewards": [step["reward"] for step in rl.training["history"]],
        "growth": [
            loss
            for arms in stages.study(growth.STUDY, TINY)
            for rates in arms.values()
            for run in rates.values()
            for loss in run["loss"]
        ],
        "routing": [step for arm in stages.study(routing.STUDY, TINY) for run in arm.values() for step in run],
        "fp8": [loss for run in stages.study(fp8.STUDY, TINY) for arm in run.values() for loss in arm],
        "kept": kept.loss,  # not its bytes: views of one storage are strangers to each other there
        "device": {type(p.data) is Placed for p in rl.model.parameters()},
    }


@pytest.mark.slow
def test_a_models_whole_life_takes_place_on_the_chosen_device(monkeypatch, tmp_path):
    monkeypatch.setenv("K2_DTYPE", "float32")
    here = life(monkeypatch, tmp_path / "here")
    monkeypatch.setenv("K2_DEVICE", NAME)
    with second_device():
        there = life(monkeypatch, tmp_path / "there")
    assert (here.pop("device"), there.pop("device")) == ({False}, {True})
    close = dict.fromkeys(here, 1e-5) | {"rl": 1e-4}  # whose loss holds what decoding and training round otherwise
    assert there == {name: pytest.approx(numbers, rel=close[name]) for name, numbers in here.items()}


@pytest.mark.parametrize(
    ("values", "policy", "inside"),
    [(machine.SMALL, "passive", 1), (machine.SMALL + 1, "passive", 3), (1, "active", 3), (1, "", 3)],
)
def test_small_layers_keep_one_thread_where_the_others_sleep(monkeypatch, values, policy, inside):
    monkeypatch.setenv("OMP_WAIT_POLICY", policy)
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    try:
        with pytest.raises(KeyError), machine.threads_for(values, HOST):
            assert torch.get_num_threads() == inside
            raise KeyError
        assert torch.get_num_threads() == 3
        with machine.threads_for(1, torch.device("meta")):
            assert torch.get_num_threads() == 3
    finally:
        torch.set_num_threads(before)
