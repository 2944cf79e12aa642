"""ZeRO-1 and checkpoints: each rank keeps its share of the states, ends where one process does, and moves to other worlds."""

import copy

import pytest
import torch
import torch.distributed as dist
import torch.distributed.checkpoint as dcp
import torch.multiprocessing as mp
import torch.nn.functional as F
from torch import nn
from torch.distributed.checkpoint.state_dict import get_state_dict, set_state_dict
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard

from k2lib import K2Model
from k2lib.model import parity
from k2lib.optim import MuonClip

pytestmark = pytest.mark.slow
TINY = parity.cases()["K2"]
STEPS, ROWS, TAU = 3, 4, 0.05


def model() -> nn.Module:
    torch.manual_seed(0)
    return K2Model(TINY).train()


def optimizer(of: nn.Module, mesh=None, group: str | None = "world") -> MuonClip:
    return MuonClip.for_model(of, lr=0.02, tau=TAU, ns_dtype=torch.float32, zero=mesh, group=group)


def trained(of: nn.Module, step: MuonClip, first: int, rank: int = 0, ranks: int = 1, sharded: bool = False) -> None:
    """A few steps on batches from `first` on, of which a rank sees its rows; gradients are averaged as DDP does."""
    for number in range(first, first + STEPS):
        rows = torch.randint(0, 128, (ROWS, 17), generator=torch.Generator().manual_seed(number))
        rows = rows[rank::ranks]
        F.cross_entropy(of(rows[:, :-1]).flatten(0, 1), rows[:, 1:].flatten()).backward()
        if ranks > 1 and not sharded:
            for parameter in of.parameters():
                dist.all_reduce(parameter.grad)
                parameter.grad /= ranks
        step.step()
        step.zero_grad()
    assert step.qk_clip.heads_ever_clipped > 0


def weights(of: nn.Module) -> list[torch.Tensor]:
    return [p.full_tensor() if hasattr(p, "full_tensor") else p.detach() for p in of.parameters()]


def join(rank: int, store: str, ranks: int):
    dist.init_process_group("gloo", init_method=f"file://{store}", rank=rank, world_size=ranks)
    return init_device_mesh("cpu", (ranks,))


def leave() -> None:
    """Together: a rank that closes its connections while another still reads from them aborts that one."""
    dist.barrier()
    dist.destroy_process_group()


def _zero(rank: int, store: str, ranks: int) -> None:
    mesh, ours = join(rank, store, ranks), model()
    alone = copy.deepcopy(ours)
    step = optimizer(ours, mesh)
    trained(ours, step, 0, rank, ranks)
    trained(alone, plain := optimizer(alone, group=None), 0)
    for a, b in zip(weights(ours), weights(alone), strict=True):
        torch.testing.assert_close(a, b, atol=1e-5, rtol=1e-5)
        first = a.clone()
        dist.broadcast(first, src=0)
        assert torch.equal(a, first)  # to the bit, on every rank
    with pytest.raises(ValueError, match="has 2 dimensions"):
        optimizer(ours, init_device_mesh("cpu", (1, ranks)))
    fully_shard(alone, mesh=mesh)
    with pytest.raises(ValueError, match="sharded already"):
        optimizer(alone, mesh)
    kept = sum(step.shares.local(t).numel() for s in step.state.values() for n, t in s.items() if n != "step")
    everything = sum(t.numel() for s in plain.state.values() for n, t in s.items() if n != "step")
    assert kept < 1.2 * everything / ranks
    leave()


@pytest.mark.parametrize("ranks", [2, 4])
def test_ranks_that_share_the_states_end_where_one_process_does(tmp_path, ranks):
    mp.spawn(_zero, (str(tmp_path / "store"), ranks), nprocs=ranks)


def built(kind: str, mesh) -> tuple[nn.Module, MuonClip]:
    ours = model()
    if kind == "FSDP2":
        for layer in ours.layers:
            fully_shard(layer, mesh=mesh)
        fully_shard(ours, mesh=mesh)
    return ours, optimizer(ours, mesh if kind == "ZeRO-1" else None, group=None if mesh is None else "world")


def _saved(rank: int, store: str, ranks: int, folder: str, kind: str) -> None:
    mesh = join(rank, store, ranks)
    ours, step = built(kind, mesh)
    trained(ours, step, 0, rank, ranks, sharded=kind == "FSDP2")
    found = dict(zip(("model", "optimizer"), get_state_dict(ours, step), strict=True))
    dcp.save(found | {"clip": step.qk_clip.state_dict()}, checkpoint_id=folder)
    leave()


def _resumed(rank: int, store: str, ranks: int, folder: str, kind: str) -> None:
    mesh = join(rank, store, ranks)
    ours, step = built(kind, mesh)
    found = dict(zip(("model", "optimizer"), get_state_dict(ours, step), strict=True))
    dcp.load(found, checkpoint_id=folder)
    set_state_dict(ours, step, model_state_dict=found["model"], optim_state_dict=found["optimizer"])
    trained(ours, step, STEPS, rank, ranks, sharded=kind == "FSDP2")
    alone = model()
    plain = optimizer(alone, group=None)
    trained(alone, plain, 0)
    trained(alone, plain, STEPS)
    for a, b in zip(weights(ours), weights(alone), strict=True):
        torch.testing.assert_close(a, b, atol=2e-5, rtol=1e-5)
    leave()


@pytest.mark.parametrize("kind", ["ZeRO-1", "FSDP2"])
def test_a_checkpoint_of_two_ranks_goes_on_with_four(tmp_path, kind):
    folder = str(tmp_path / "checkpoint")
    mp.spawn(_saved, (str(tmp_path / "two"), 2, folder, kind), nprocs=2)
    mp.spawn(_resumed, (str(tmp_path / "four"), 4, folder, kind), nprocs=4)
