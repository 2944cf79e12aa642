"""QK-Clip on attention modules other than ours, over ranks, on its own, and around steps that are refused."""

from typing import NamedTuple

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from torch import nn

from k2lib.optim import MuonClip, QKClip


class Part(NamedTuple):
    weight: nn.Parameter
    heads: int
    start: int
    stop: int
    exponent: float


class GroupedAttention(nn.Module):
    """Attention as in most models: `heads` queries share `keys` keys; biases on both, as in Qwen's."""

    def __init__(self, heads: int = 8, keys: int = 2, size: int = 4, width: int = 16):
        super().__init__()
        self.heads, self.keys = heads, keys
        self.q_proj, self.k_proj = nn.Linear(width, heads * size), nn.Linear(width, keys * size)
        self.v_proj = nn.Linear(width, keys * size)
        self.max_logits = None

    def qk_parts(self):
        rows = self.q_proj.out_features // self.heads
        return [
            Part(p, heads, 0, rows, 0.5)
            for layer, heads in ((self.q_proj, self.heads), (self.k_proj, self.keys))
            for p in layer.parameters()
        ]

    def logits(self, x):
        """[H, B, T, T], scaled, causal entries only (the rest at zero)."""
        q = self.q_proj(x).unflatten(-1, (self.heads, -1))
        k = self.k_proj(x).unflatten(-1, (self.keys, -1)).repeat_interleave(self.heads // self.keys, 2)
        return torch.einsum("bthd,bshd->hbts", q, k).tril() / q.shape[-1] ** 0.5

    def forward(self, x):
        scores = self.logits(x)
        if self.training:
            largest = scores.detach().masked_fill(~torch.ones_like(scores, dtype=torch.bool).tril(), -torch.inf)
            largest = largest.amax((1, 2, 3))
            self.max_logits = largest if self.max_logits is None else torch.maximum(self.max_logits, largest)
        return scores


@pytest.mark.parametrize("keys", [8, 4, 2, 1])
def test_every_head_shrinks_by_its_own_gamma_however_many_share_a_key(keys):
    torch.manual_seed(keys)
    attention = GroupedAttention(keys=keys)
    x = torch.randn(2, 10, 16)
    before, values = attention.logits(x), attention.v_proj(x)
    attention.max_logits = torch.tensor([4.0, 1.0, 40.0, -2.0, 0.5, 9.0, 2.0, 2.1])
    report = QKClip(tau=2.0).step(attention)[""]
    gamma = torch.tensor([0.5, 1.0, 0.05, 1.0, 1.0, 2 / 9, 1.0, 2 / 2.1])
    torch.testing.assert_close(report.gamma, gamma)
    torch.testing.assert_close(attention.logits(x), before * gamma[:, None, None, None], atol=1e-6, rtol=1e-5)
    assert torch.equal(attention.v_proj(x), values)


def test_after_the_clip_the_same_batch_reaches_exactly_tau():
    torch.manual_seed(0)
    attention = GroupedAttention()
    x = 5 * torch.randn(2, 10, 16)
    attention(x)
    tau = attention.max_logits.median().item()
    QKClip(tau=tau).step(attention)
    assert attention.max_logits is None
    attention(x)
    assert attention.max_logits.amax().item() == pytest.approx(tau, rel=1e-5)


def test_maxima_run_over_micro_batches_and_ignore_evaluation():
    torch.manual_seed(0)
    attention, batches = GroupedAttention(), torch.randn(3, 2, 10, 16)
    separate = []
    for x in batches:
        attention(x)
        separate.append(attention.max_logits)
        attention.max_logits = None
    for x in batches:
        attention(x)
    attention.eval()(100 * batches[0])
    seen = QKClip(tau=1e6).step(attention)[""].max_logits
    assert torch.equal(seen, torch.stack(separate).amax(0))


def test_it_works_beside_any_optimizer_and_counts_the_heads():
    torch.manual_seed(0)
    attention = GroupedAttention()
    optimizer, clip = torch.optim.AdamW(attention.parameters(), lr=0.05), QKClip(tau=0.5)
    for _ in range(20):
        (-attention(torch.randn(2, 10, 16)).square().mean()).backward()  # makes logits grow
        optimizer.step()
        optimizer.zero_grad()
        clip.step(attention)
    assert 0 < clip.heads_ever_clipped <= 8
    assert clip.heads_ever_clipped == int(clip.report[""].ever_clipped.sum())
    restored = QKClip(tau=100.0)
    restored.load_state_dict(clip.state_dict())
    assert restored.tau == 100.0 and restored.heads_ever_clipped == clip.heads_ever_clipped


@pytest.mark.parametrize("where", ["maximum", "gradient"])
def test_a_refused_step_moves_nothing_and_the_next_one_goes_on(where):
    torch.manual_seed(0)
    attention = GroupedAttention()
    optimizer = MuonClip.for_model(attention, lr=0.1, tau=1.0)
    attention(torch.randn(2, 10, 16)).square().mean().backward()
    attention.max_logits[3] = torch.inf
    if where == "gradient":
        attention.q_proj.weight.grad[0, 0] = torch.nan
    before = {name: p.detach().clone() for name, p in attention.named_parameters()}
    with pytest.raises(FloatingPointError, match="maximum logit" if where == "maximum" else r"q_proj\.weight"):
        optimizer.step()
    assert all(torch.equal(before[name], p) for name, p in attention.named_parameters())
    assert not optimizer.state
    optimizer.zero_grad()
    attention(torch.randn(2, 10, 16)).square().mean().backward()
    optimizer.step()
    assert not torch.equal(before["q_proj.weight"], attention.q_proj.weight)


def _rank(rank: int, store: str) -> None:
    dist.init_process_group("gloo", init_method=f"file://{store}", rank=rank, world_size=2)
    torch.manual_seed(0)
    model = nn.ModuleList([GroupedAttention(), GroupedAttention()])
    if rank == 0:  # the second module does not run on rank 1, and a NaN there must not get lost
        model[1].max_logits = torch.full((8,), 3.0)
    model[0].max_logits = torch.arange(8.0) if rank == 0 else torch.arange(8.0).flip(0)
    calls, reduce = [], dist.all_reduce
    dist.all_reduce = lambda *args, **kwargs: calls.append(1) or reduce(*args, **kwargs)
    report = QKClip(tau=2.0, group=dist.group.WORLD).step(model)
    assert len(calls) == 1
    assert report["0"].max_logits.tolist() == [7.0, 6.0, 5.0, 4.0, 4.0, 5.0, 6.0, 7.0]
    assert report["1"].max_logits.tolist() == [3.0] * 8
    everyone = [torch.empty_like(model[0].q_proj.weight) for _ in range(2)]
    dist.all_gather(everyone, model[0].q_proj.weight.detach())
    assert torch.equal(*everyone)
    model[0].max_logits = torch.full((8,), torch.nan if rank == 1 else 5.0)
    with pytest.raises(FloatingPointError, match="0 has a non-finite"):
        QKClip(tau=2.0, group=dist.group.WORLD).step(model)
    dist.destroy_process_group()


@pytest.mark.slow
def test_ranks_share_their_maxima_in_one_collective(tmp_path):
    mp.spawn(_rank, (str(tmp_path / "store"),), nprocs=2)
