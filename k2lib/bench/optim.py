"""One optimizer step: ours against torch.optim.Muon, pytorch_optimizer's (where it is installed), and AdamW.

Twenty-four matrices of 512×512 and 128 of 512×256, as a small mixture of experts has them; ours get the experts as stacks.
Beside the times stands the share of the machine's rate of dense products that the orthogonalisation amounts to, and what QK-Clip
itself costs of a training step of the nano model.
"""

import importlib.util
from collections.abc import Callable

import torch
from torch import nn

from k2lib import machine
from k2lib.bench.model import BATCH, CONFIG, LENGTH
from k2lib.bench.rounds import Timing, in_turns, report
from k2lib.config import K2Config
from k2lib.model import K2Model
from k2lib.optim import MuonClip, QKClip

SQUARE, EXPERTS = (24, 512, 512), (8, 16, 512, 256)  # matrices; stacks of experts
CLIPS = 20  # of QK-Clip timed together


def run(dtype: str = "auto", rounds: int = 7) -> dict:
    """Times one step of each on equal gradients. Muon in bf16 alone is left out where bf16 is slow."""
    torch.manual_seed(0)
    where = machine.device()
    used = machine.compute_dtype(where) if dtype == "auto" else dtype
    shapes = [SQUARE[1:]] * SQUARE[0] + [EXPERTS[1:]] * EXPERTS[0]
    stacks = [nn.Parameter(torch.randn(*shape, device=where)) for shape in shapes]
    for stack in stacks:
        stack.grad = torch.randn_like(stack)
    ways = {"k2lib MuonClip": MuonClip(stacks, lr=1e-4, ns_dtype=getattr(torch, used)).step}
    if used == "bfloat16":
        ways |= _muons(stacks)
    ways["torch.optim.AdamW, fused"] = torch.optim.AdamW(_matrices(stacks), lr=1e-4, fused=True).step
    timings = in_turns(ways, rounds)
    flops = _flops(stacks)
    rate = machine.measure(where, torch.get_num_threads()).gflops[used]  # now: what was kept may be of a busier hour
    muon = {name: time for name, time in timings.items() if "Muon" in name}
    extra = {n: {"share of the GEMM rate": round(1e-9 * flops / t.median / rate, 3)} for n, t in muon.items()}
    extra["k2lib MuonClip"] |= _clip_share(rounds, used)
    title = f"one step of {sum(p.numel() for p in stacks) / 1e6:.0f}M parameters, {flops / 1e9:.0f} GFLOP, {used}"
    return report(f"{title}, {torch.get_num_threads()} threads", timings, extra)


def _matrices(stacks: list[nn.Parameter]) -> list[nn.Parameter]:
    """Copies, a parameter for each matrix, with their gradients: what optimizers without stacks are given."""
    found = []
    for stack in stacks:
        for weight, grad in zip(*(t.detach().reshape(-1, *t.shape[-2:]) for t in (stack, stack.grad)), strict=True):
            found.append(nn.Parameter(weight.clone()))
            found[-1].grad = grad.clone()
    return found


def _muons(stacks: list[nn.Parameter]) -> dict[str, Callable]:
    ways = {"torch.optim.Muon": torch.optim.Muon(_matrices(stacks), lr=1e-4, adjust_lr_fn="match_rms_adamw").step}
    if importlib.util.find_spec("pytorch_optimizer"):
        from pytorch_optimizer import Muon

        groups = [{"params": _matrices(stacks), "use_muon": True}]
        ways["pytorch_optimizer Muon"] = Muon(groups, lr=1e-4, use_adjusted_lr=True).step
    return ways


def _flops(stacks: list[nn.Parameter], steps: int = 5) -> float:
    """Of Newton–Schulz as it is written: 4n²m + 2n³ a step and matrix [n, m], n ≤ m."""
    total = 0.0
    for stack in stacks:
        n, m = sorted(stack.shape[-2:])
        total += stack.numel() / (n * m) * steps * (4 * n * n * m + 2 * n**3)
    return total


def _clip_share(rounds: int, dtype: str) -> dict[str, float]:
    """QK-Clip's step, with every head clipped, as a share of a whole training step."""
    where = machine.device()
    model = K2Model(K2Config.preset("nano").replace(**CONFIG)).to(where).train()
    optimizer = MuonClip.for_model(model, lr=1e-4, tau=None, ns_dtype=getattr(torch, dtype))
    tokens = torch.randint(0, model.config.vocab_size, (BATCH, LENGTH + 1), device=where)
    clip, heads = QKClip(1.0), torch.full((model.config.num_attention_heads,), 1.001, device=where)

    def step() -> None:
        with machine.precision(where, dtype):
            loss = model.loss(tokens[:, :-1], tokens[:, 1:])
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()

    def clipped() -> None:
        for _ in range(CLIPS):
            for layer in model.layers:
                layer.self_attn.max_logits = heads
            clip.step(model)

    timings: dict[str, Timing] = in_turns({"step": step, "clip": clipped}, max(2, rounds // 2))
    return {"QK-Clip's share of a step": round(timings["clip"].median / CLIPS / timings["step"].median, 5)}
