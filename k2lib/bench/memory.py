"""What a training step keeps for its backward pass, and how long it takes: ours under every policy, transformers' as it can.

Forward and backward pass of a 20M-parameter model on 8 × 256 tokens; all share weights and tokens, and are timed in
turns. Bytes are counted by the same hooks for all, on the device. The peer runs with its two attentions, with its full
checkpointing, and in pure bf16, without fp32 masters, where it keeps least.
"""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from functools import partial

import torch
import torch.nn.functional as F

from k2lib import machine
from k2lib.bench.model import BATCH, LENGTH
from k2lib.bench.model import CONFIG as OTHER
from k2lib.bench.rounds import Timing, in_turns, report
from k2lib.config import K2Config
from k2lib.memory import ActivationStore, MemoryMeter, Policy, full_recompute, k2_policy
from k2lib.model import K2Model, parity

CONFIG = OTHER | dict(num_attention_heads=8, qk_rope_head_dim=16)
PLAIN = Policy()
POLICIES = {
    "keep everything": PLAIN,
    "recompute": Policy(k2_policy().recompute),
    "K2's without offload": k2_policy(offload=False),
    "K2's": k2_policy(),
    "layers": full_recompute(),
    "layers, offload": Policy(full_recompute().recompute, offload=True),
}
OURS = "k2lib, "

Step = Callable[[AbstractContextManager], None]  # one forward and backward pass within a store


@dataclass(frozen=True)
class Point:
    timing: Timing
    device: int  # bytes kept on the device at the fullest moment
    host: int  # and on the host


def frontier(dtype: str = "auto", rounds: int = 7, warmup: int = 2) -> dict[str, Point]:
    """Time and kept bytes of every way, ours first, their names beginning with OURS."""
    torch.manual_seed(0)
    where = machine.device()
    model = K2Model(K2Config.preset("nano").replace(**CONFIG)).to(where).train()
    tokens = torch.randint(0, model.config.vocab_size, (BATCH, LENGTH + 1), device=where)
    used = machine.compute_dtype(where) if dtype == "auto" else dtype
    stores = {f"{OURS}{name}": policy for name, policy in POLICIES.items()}
    steps = dict.fromkeys(stores, _ours(model, tokens, used)) | _peers(model, tokens, used)
    kept = {}
    for name, step in steps.items():
        kept[name] = ActivationStore(stores[name]) if name in stores else MemoryMeter()
        step(kept[name])
    # where nothing is to be changed, nothing listens while the time is taken
    fresh = {
        name: partial(ActivationStore, stores[name]) if stores.get(name, PLAIN) != PLAIN else nullcontext
        for name in steps
    }
    timings = in_turns({name: lambda name=name: steps[name](fresh[name]()) for name in steps}, rounds, warmup)
    return {name: Point(timings[name], store.total_bytes, store.host_bytes) for name, store in kept.items()}


def run(dtype: str = "auto", rounds: int = 7) -> dict:
    """Prints the frontier."""
    points = frontier(dtype, rounds)
    extra = {
        name: {"MiB on the device": round(point.device / 2**20, 2), "on the host": round(point.host / 2**20, 2)}
        for name, point in points.items()
    }
    used = machine.compute_dtype() if dtype == "auto" else dtype
    title = f"one step of {BATCH} × {LENGTH} tokens and what it keeps, {used}, {torch.get_num_threads()} threads"
    return report(title, {name: point.timing for name, point in points.items()}, extra)


def _ours(model: K2Model, tokens: torch.Tensor, dtype: str) -> Step:
    def step(store: AbstractContextManager) -> None:
        with store, machine.precision(tokens.device, dtype):
            loss = model.loss(tokens[:, :-1], tokens[:, 1:])
        loss.backward()
        model.zero_grad(set_to_none=True)

    return step


def _peers(model: K2Model, tokens: torch.Tensor, dtype: str) -> dict[str, Step]:
    ways = {"sdpa": {"attention": "sdpa"}, "eager": {"attention": "eager"}}
    if dtype == "bfloat16":
        ways["pure bf16"] = {"attention": "eager", "pure": True}
    return {
        f"transformers, {name}{more}": _peer(model, tokens, dtype, checkpointing=bool(more), **way)
        for name, way in ways.items()
        for more in ("", ", checkpointing")
    }


def _peer(
    model: K2Model, tokens: torch.Tensor, dtype: str, attention: str, checkpointing: bool, pure: bool = False
) -> Step:
    peer = parity.reference(model).to(tokens.device, torch.bfloat16 if pure else None).train()
    peer.set_attn_implementation(attention)
    if checkpointing:
        peer.gradient_checkpointing_enable()

    def step(store: AbstractContextManager) -> None:
        with store, machine.precision(tokens.device, "float32" if pure else dtype):
            logits = peer(tokens[:, :-1]).logits
            loss = F.cross_entropy(logits.flatten(0, 1).float(), tokens[:, 1:].flatten())
        loss.backward()
        peer.zero_grad(set_to_none=True)

    return step


def cloud(ways: dict[str, dict]) -> dict[str, dict]:
    """Ours and the peer's ways {"seconds", "device"} as `figures.points` draws them: milliseconds over MiB."""
    groups: dict[str, dict] = {"k2lib": {}, "transformers": {}}
    for name, way in ways.items():
        group, short = name.split(", ", 1)
        groups[group][short] = way
    return {
        group: {
            "x": [1000 * way["seconds"] for way in found.values()],
            "y": [max(way["device"], 2**14) / 2**20 for way in found.values()],
            "text": list(found),
        }
        for group, found in groups.items()
    }


def beaten(points: dict[str, Point]) -> float:
    """The share of the peer's points that one of ours beats in time and in bytes on the device."""
    ours = [point for name, point in points.items() if name.startswith(OURS)]
    theirs = [point for name, point in points.items() if not name.startswith(OURS)]
    better = [any(o.timing.median < t.timing.median and o.device < t.device for o in ours) for t in theirs]
    return sum(better) / len(better)
