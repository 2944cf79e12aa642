"""Two processes learn what one learns; wrong layouts are named; the plan adds up."""

import json

import pytest
import torch
import torch.distributed as dist
from waiting import FAR

from k2lib import K2Config, K2Model
from k2lib.memory import Policy, k2_policy
from k2lib.model.accounting import count_parameters
from k2lib.model.moe import Experts
from k2lib.parallel.experts import shard_experts, synchronise
from k2lib.parallel.launch import launch
from k2lib.parallel.pipeline import boundaries
from k2lib.parallel.plan import Plan, activation_bytes, parameters_per_gpu, state_bytes, waterfall
from k2lib.profiles import SMOKE
from k2lib.studies.kept import kept_bytes

pytestmark = pytest.mark.slow

CONFIG = K2Config.preset("nano").replace(**SMOKE.model | {"vocab_size": 320, "num_hidden_layers": 4})


@pytest.fixture(scope="module")
def job(shards):
    return {
        "config": CONFIG.to_dict(),
        "steps": 3,
        "batch_size": 8,
        "seq_len": 32,
        "microbatches": 4,
        "lr": 5e-3,
        "seed": 0,
        "shards": shards,
        "timeout": FAR,
    }


@pytest.fixture(scope="module")
def single(job):
    return launch("single", **job)["losses"]


@pytest.mark.parametrize(
    "mode, virtual, processes", [("pipeline", 1, 2), ("pipeline", 2, 2), ("experts", 1, 2), ("experts", 1, 4)]
)
def test_several_processes_give_the_losses_of_one(job, single, mode, virtual, processes):
    result = launch(mode, virtual=virtual, processes=processes, **job)
    assert result["losses"] == pytest.approx(single, abs=2e-5)
    assert len(set(result["losses"])) == 3
    if mode == "pipeline":
        kinds = [(s["stage"], s["kind"], s["microbatch"]) for s in result["spans"]]
        assert len(kinds) == len(set(kinds)) == 2 * virtual * 2 * job["microbatches"]


def test_after_synchronising_gradients_are_means_and_maxima_those_of_all_processes(monkeypatch):
    """As if the other of two processes had the same gradients and loads, and one larger logit."""

    def all_reduce(tensor, op=dist.ReduceOp.SUM):
        tensor.mul_(2) if op == dist.ReduceOp.SUM else tensor.clamp_(min=7.0)

    monkeypatch.setattr(dist, "all_reduce", all_reduce)
    model = K2Model(CONFIG).train()
    for parameter in model.parameters():
        parameter.grad = torch.ones_like(parameter)
    for layer in model.layers:
        layer.self_attn.max_logits = torch.tensor([3.0, 9.0])
    routers = [module for module in model.modules() if hasattr(module, "load")]
    for router in routers:
        router.load.fill_(4.0)
    synchronise(model, 2)
    stacks = {id(p) for m in model.modules() if isinstance(m, Experts) for p in m.parameters(recurse=False)}
    for parameter in model.parameters():  # an expert has summed both processes' tokens already
        assert torch.equal(parameter.grad, torch.full_like(parameter, 0.5 if id(parameter) in stacks else 1.0))
    assert all(layer.self_attn.max_logits.tolist() == [7.0, 9.0] for layer in model.layers)
    assert all((router.load == 8.0).all() for router in routers)


def test_a_pipeline_under_the_papers_policy_learns_the_same(job, single):
    """Recomputation and offload, micro-batches in flight; FP8 rounds, and no more."""
    exact = {"recompute": [*k2_policy().recompute], "offload": True}
    assert launch("pipeline", **job | {"policy": exact})["losses"] == pytest.approx(single, abs=2e-5)
    rounded = launch("pipeline", **job | {"policy": exact | {"fp8": [*k2_policy().fp8]}})["losses"]
    assert rounded[0] == pytest.approx(single[0], abs=2e-5) and rounded != single
    assert rounded == pytest.approx(single, abs=0.02)


def test_a_job_that_fails_shows_its_error(job):
    with pytest.raises(RuntimeError, match="cannot be cut into 3 micro-batches"):
        launch("pipeline", **job | {"microbatches": 3})


def test_a_job_that_hangs_is_stopped(job):
    with pytest.raises(RuntimeError, match="did not end within 1 seconds"):
        launch("single", **job | {"timeout": 1})


def test_a_memory_policy_holds_where_experts_are_reached_across_processes(tmp_path):
    torch.manual_seed(0)
    model = K2Model(CONFIG)
    sequences, fp8 = torch.randint(0, 320, (4, 65)), Policy(fp8=k2_policy().fp8)
    here = {policy: kept_bytes(model, sequences, policy, "float32") for policy in (Policy(), fp8)}
    dist.init_process_group("gloo", init_method=f"file://{tmp_path}/rendezvous", rank=0, world_size=1)
    try:
        shard_experts(model, 0, 1)
        across = {policy: kept_bytes(model, sequences, policy, "float32") for policy in (Policy(), fp8)}
    finally:
        dist.destroy_process_group()
    assert across[fp8].loss == pytest.approx(here[fp8].loss, abs=1e-5)
    for name in fp8.fp8:  # each token's rows that arrived, so K times the input of one process
        assert across[fp8].by_name[name] < 0.3 * across[Policy()].by_name[name]
    assert across[fp8].by_name["expert input"] > 2 * here[fp8].by_name["expert input"]
    assert max(size for name, size in across[Policy()].by_name.items() if name == "other") < 10_000  # all have names


def test_layouts_that_do_not_fit_are_named():
    with pytest.raises(ValueError, match=r"ep=3 processes; choose ep from 1, 2, 4, 8, 16"):
        shard_experts(Experts(CONFIG), 0, 3)
    with pytest.raises(ValueError, match="4 layers cannot be cut into 5 stages"):
        boundaries(4, 5)
    assert boundaries(61, 16)[0] == 0 and boundaries(61, 16)[-1] == 61


def test_the_states_of_all_gpus_are_the_papers_six_terabytes_and_one_holds_about_thirty_gigabytes():
    config = K2Config.preset("kimi-k2")
    (weights,), (gradients,), *_ = state_bytes(config, Plan(pipeline=1, experts=1)).values()
    assert weights + gradients == pytest.approx(6.16e12, rel=0.01)
    weights, gradients, *_ = state_bytes(config, Plan()).values()
    assert max(map(sum, zip(weights, gradients, strict=True))) == pytest.approx(30e9, rel=0.06)


def test_zero_shares_out_what_only_the_optimizer_needs():
    config = K2Config.preset("kimi-k2")
    one, many = (state_bytes(config, Plan(replicas=n)) for n in (1, 16))
    assert one["weights, bf16"] == many["weights, bf16"]
    assert many["momentum, fp32"] == pytest.approx([held / 16 for held in one["momentum, fp32"]])
    whole = Plan(pipeline=1, experts=16)  # every parameter's momentum is held once by its 16 GPUs
    assert 16 * state_bytes(config, whole)["momentum, fp32"][0] == pytest.approx(4 * count_parameters(config).total)
    assert Plan(replicas=16).gpus == 4096
    assert sum(map(sum, many.values())) / 16 == pytest.approx(30e9, rel=0.02)  # the paper: about 30 GB


def test_every_measure_of_the_paper_shrinks_the_activations():
    config = K2Config.preset("kimi-k2")
    device, host = zip(*waterfall(config, Plan()).values(), strict=True)
    assert list(device) == sorted(device, reverse=True) and len(set(device)) == len(device)
    assert (
        device[0]
        > 80e9
        > max(map(sum, zip(*state_bytes(config, Plan(replicas=16)).values(), strict=True))) + device[-2]
    )
    assert host[:-1] == (0.0,) * (len(host) - 1) and host[-1] == pytest.approx(device[-2] - device[-1])
    # by hand, of one sparse layer and token in bf16: FP8 rows that arrived and SwiGLU inputs, the shared expert's among them
    sparse = config.replace(num_hidden_layers=2, first_k_dense_replace=0)
    left, _ = activation_bytes(sparse, Plan(pipeline=2), k2_policy())
    tiles = 8 * (7168 + 4 * 56) + 8 * (4096 + 4 * 32) + 2 * (2048 + 4 * 16)
    assert left == pytest.approx(2 * 4096 * tiles, rel=0.02)


def test_the_plan_holds_every_parameter():
    config = K2Config.preset("kimi-k2")
    held = parameters_per_gpu(config, Plan(pipeline=16, experts=1))
    assert sum(held) == count_parameters(config).total
    shared = parameters_per_gpu(config, Plan())
    assert max(shared) * 6 / 1e9 < 35
    with pytest.raises(ValueError, match="ep=7"):
        parameters_per_gpu(config, Plan(experts=7))
    assert json.dumps(shared)
