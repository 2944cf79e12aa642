"""Decoding: sixteen sequences continued greedily, ours against `transformers.generate`, tokens compared.

A step has to read every weight that its tokens use; the time that takes at the machine's measured bandwidth is the floor.
"""

import torch

from k2lib import machine
from k2lib.bench.model import CONFIG
from k2lib.bench.rounds import in_turns, report
from k2lib.config import K2Config
from k2lib.model import K2Model, parity
from k2lib.model.generate import sample

SEQUENCES, PROMPT, NEW = 16, 64, 64


@torch.no_grad()
def run(dtype: str = "auto", rounds: int = 5) -> dict:
    """Times both over the same prompts. RuntimeError when their tokens differ in fp32, where they must be equal."""
    torch.manual_seed(0)
    where = machine.device()
    model = K2Model(K2Config.preset("nano").replace(**CONFIG)).to(where).eval()
    peer = parity.reference(model).to(where)
    prompts = torch.randint(5, model.config.vocab_size, (SEQUENCES, PROMPT), device=where)
    settings = dict(max_new_tokens=NEW, min_new_tokens=NEW, do_sample=False, pad_token_id=0)
    results: dict[str, list] = {}

    def ours() -> None:
        with machine.precision(where, dtype):
            results["k2lib"] = [done.tokens for done in sample(model, prompts.tolist(), max_new_tokens=NEW)]

    def theirs() -> None:
        with machine.precision(where, dtype):
            made = peer.generate(prompts, attention_mask=torch.ones_like(prompts), **settings)
        results["transformers.generate"] = made[:, PROMPT:].tolist()

    timings = in_turns({"k2lib": ours, "transformers.generate": theirs}, rounds, warmup=1)
    used = machine.compute_dtype(where) if dtype == "auto" else dtype
    mine, others = results.values()
    equal = sum(a == b for x, y in zip(mine, others, strict=True) for a, b in zip(x, y, strict=True)) / (
        SEQUENCES * NEW
    )
    if used == "float32" and equal < 1:
        raise RuntimeError(f"only {equal:.1%} of the tokens are transformers' own; decoding is not the model's forward")
    read = sum(p.numel() for p in model.parameters()) * getattr(torch, used).itemsize
    extra = {name: {"tokens/s": round(SEQUENCES * NEW / t.median)} for name, t in timings.items()}
    extra["k2lib"]["ms a step"] = round(1e3 * timings["k2lib"].median / NEW, 1)
    extra["k2lib"]["ms to read all weights"] = round(1e3 * read / (machine.rates(where).bandwidth * 1e9), 1)
    extra["k2lib"]["equal tokens"] = equal
    title = f"{SEQUENCES} sequences, {PROMPT} tokens each, {NEW} new ones, {used}, {torch.get_num_threads()} threads"
    return report(title, timings, extra)
