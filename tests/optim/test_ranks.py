"""MuonClip over several processes: replicated or sharded, the weights are those of one process, the clip included."""

import copy

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
import torch.nn.functional as F
from torch import nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard
from torch.nn.parallel import DistributedDataParallel
from transformers import LlamaConfig, LlamaForCausalLM

from k2lib import K2Model
from k2lib.model import parity
from k2lib.optim import MuonClip, QKClip

pytestmark = pytest.mark.slow
TINY = parity.cases()["K2"]
STEPS, TAU = 5, 0.05


def own() -> nn.Module:
    torch.manual_seed(0)
    return K2Model(TINY).train()


def foreign() -> nn.Module:
    torch.manual_seed(0)
    shape = {"vocab_size": 128, "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2}
    return LlamaForCausalLM(LlamaConfig(**shape, num_attention_heads=4, num_key_value_heads=2)).train()


def trained(model: nn.Module, called: nn.Module, optimizer: MuonClip, rank: int | None) -> list[torch.Tensor]:
    """Weights after a few steps on the same batches, of which a rank sees one row."""
    generator = torch.Generator().manual_seed(1)
    for _ in range(STEPS):
        rows = torch.randint(0, 128, (2, 17), generator=generator)
        rows = rows if rank is None else rows[rank : rank + 1]
        out = called(rows[:, :-1])
        logits = out if isinstance(out, torch.Tensor) else out.logits
        F.cross_entropy(logits.flatten(0, 1), rows[:, 1:].flatten()).backward()
        optimizer.step()
        optimizer.zero_grad()
    assert optimizer.qk_clip.heads_ever_clipped > 0
    return [p.full_tensor() if hasattr(p, "full_tensor") else p.detach() for p in model.parameters()]


def _rank(rank: int, store: str, kind: str) -> None:
    dist.init_process_group("gloo", init_method=f"file://{store}", rank=rank, world_size=2)
    model = foreign() if kind == "DDP, foreign" else own()
    alone = copy.deepcopy(model)
    how = {"lr": 0.02, "tau": TAU, "ns_dtype": torch.float32}

    def optimizer(of: nn.Module, group: str | None) -> MuonClip:
        if kind != "DDP, foreign":
            return MuonClip.for_model(of, group=group, **how)
        shared = dist.group.WORLD if group else None
        return MuonClip.for_model(of, qk_clip=QKClip.attach(of, tau=TAU, group=shared), **how)

    expected = trained(alone, alone, optimizer(alone, None), None)
    called = model
    if kind == "FSDP2":
        mesh = init_device_mesh("cpu", (2,))
        for layer in model.layers:
            fully_shard(layer, mesh=mesh)
        fully_shard(model, mesh=mesh)
        found = trained(model, called, optimizer(model, "world"), rank)
    else:
        step = optimizer(model, "world")
        found = trained(model, DistributedDataParallel(model), step, rank)
        other = [torch.empty_like(p) for p in found]
        for mine, received in zip(found, other, strict=True):
            received.copy_(mine)
            dist.broadcast(received, src=0)
            assert torch.equal(mine, received)  # the ranks have not drifted apart
    for a, b in zip(found, expected, strict=True):
        torch.testing.assert_close(a, b, atol=1e-5, rtol=1e-5)
    dist.destroy_process_group()


@pytest.mark.parametrize("kind", ["DDP", "DDP, foreign", "FSDP2"])
def test_ranks_end_where_one_process_does(tmp_path, kind):
    mp.spawn(_rank, (str(tmp_path / "store"), kind), nprocs=2)


def _sharded_after_attach(rank: int, store: str) -> None:
    dist.init_process_group("gloo", init_method=f"file://{store}", rank=rank, world_size=2)
    model = foreign()
    optimizer = MuonClip.for_model(model, lr=0.02, qk_clip=QKClip.attach(model, tau=TAU))
    fully_shard(model, mesh=init_device_mesh("cpu", (2,)))
    before = [p.full_tensor().clone() for p in model.parameters()]
    model(torch.arange(8)[None], labels=torch.arange(8)[None]).loss.backward()
    with pytest.raises(ValueError, match=r"layers\.0\.self_attn: its parameters are sharded"):
        optimizer.step()
    assert all(torch.equal(p.full_tensor(), b) for p, b in zip(model.parameters(), before, strict=True))
    dist.destroy_process_group()


def test_a_foreign_model_that_is_sharded_is_refused_before_a_weight_moves(tmp_path):
    mp.spawn(_sharded_after_attach, (str(tmp_path / "store"),), nprocs=2)
