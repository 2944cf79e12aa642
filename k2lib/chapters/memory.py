"""Notebook 04: bytes that a step keeps under each policy, what that costs in time, and what FP8 loses (section 2.4.3)."""

from dataclasses import asdict
from functools import partial
from operator import itemgetter

import torch
from torch import Tensor

from k2lib import stages
from k2lib.bench import memory as peers
from k2lib.cuda import fp8 as kernels
from k2lib.cuda import simulator
from k2lib.cuda.kernel import Kernel
from k2lib.memory import Policy, budget, dequantize_fp8, full_recompute, k2_policy, quantize_fp8
from k2lib.model import K2Model
from k2lib.profiles import Profile
from k2lib.progress import Progress
from k2lib.studies import fp8 as fp8_study
from k2lib.studies import fp8_error
from k2lib.studies.kept import kept_bytes

POLICIES = {
    "keep everything": Policy(),
    "recompute": Policy(k2_policy().recompute),
    "+ FP8": k2_policy(offload=False),
    "+ offload": k2_policy(),
    "layers": full_recompute(),
}
EXACT = ("recompute", "layers")  # policies that change no number
OUTLIERS = range(0, 33, 2)  # powers of two by which one number of a tensor is multiplied
PARTS = ("tensor", "gradient")  # whose error is measured
ATTEMPTS = 5  # of which the quickest step is drawn


def kept(profile: Profile, seed: int, progress: Progress) -> dict[str, dict]:
    """{policy: {"measured", "predicted": bytes a token on the device, "by_name": the measured ones, "difference"}}.

    One step of the base model in fp32. The difference is the largest of any gradient to that of plain autograd.
    """
    model, batch = _step(profile, seed, progress)
    tokens, plain, found = batch[:, 1:].numel(), None, {}
    for name, policy in POLICIES.items():
        one = kept_bytes(model, batch, policy, "float32")
        plain = plain or one  # the first policy keeps everything
        saved = budget.model_saves(model.config, len(batch), batch.shape[1] - 1, policy, compute=4)
        predicted = sum(budget.kept_bytes(saved, tokens, policy)[0].values())
        found[name] = {
            "measured": one.total / tokens,
            "predicted": predicted / tokens,
            "by_name": {tensor: size / tokens for tensor, size in one.by_name.items()},
            "difference": one.largest_gradient_difference(plain),
        }
    return found


def copies(profile: Profile, seed: int, progress: Progress) -> list[dict]:
    """Who worked when in the quickest of some steps with offload: {"lane", "layer", "start", "end"} in seconds."""
    model, batch = _step(profile, seed, progress)
    runs = [kept_bytes(model, batch, Policy(offload=True), "float32").timeline for _ in range(ATTEMPTS)]
    spans = min(runs, key=lambda spans: max(span.end for span in spans) - min(span.start for span in spans))
    zero = min(span.start for span in spans)
    times = [{"start": span.start - zero, "end": span.end - zero} for span in spans]
    return [{"lane": span.lane, "layer": span.layer} | time for span, time in zip(spans, times, strict=True)]


def lanes(spans: list[dict]) -> list[dict]:
    """What `copies` gave as a timeline in milliseconds: computation, copies out, copies home."""
    names = {"forward": "compute", "backward": "compute", "out": "copies out", "home": "copies home"}
    return [
        {"lane": names[s["lane"]], "kind": f"layer {s['layer']}", "start": 1000 * s["start"], "end": 1000 * s["end"]}
        for s in sorted(spans, key=itemgetter("layer"))
        if s["layer"]
    ]


def frontier(profile: Profile, _seed: int, _progress: Progress) -> dict[str, dict]:
    """{way: {"seconds": median of a step, "device", "host": bytes kept}} and "beaten", the peer's share of ways that are."""
    found = peers.frontier(rounds=profile.memory.rounds, warmup=1)
    ways = {
        name: {"seconds": point.timing.median, "device": point.device, "host": point.host}
        for name, point in found.items()
    }
    return {"ways": ways, "beaten": peers.beaten(found)}


def rounding(_profile: Profile, _seed: int, _progress: Progress) -> dict[str, list[float]]:
    """{"number": [128], "error": [128]}: numbers of one tile, relative to its largest, and their relative errors in E4M3."""
    x = torch.logspace(0, -6, 128, base=2)[None] * 1.001
    error = (dequantize_fp8(*quantize_fp8(x)) - x).abs() / x
    return {"number": x[0].tolist(), "error": error[0].tolist()}


def outlier(_profile: Profile, seed: int, _progress: Progress) -> dict[str, list[float]]:
    """{size of the tile: error of all others as one number grows by the powers of OUTLIERS}."""
    return fp8_error.beside_an_outlier(_normal(seed), [2.0**power for power in OUTLIERS])


def formats(_profile: Profile, seed: int, _progress: Progress) -> dict[str, dict[str, float]]:
    """{size of the tile: {format of its scale: error of a row}}, of rows that differ in size by a factor of 10⁸."""
    return fp8_error.by_format(_normal(seed) * torch.logspace(-4, 4, 256, base=10)[:, None])


def kinds(profile: Profile, seed: int, progress: Progress) -> dict[str, dict[str, float]]:
    """{kind of tensor: {"tensor", "gradient": relative error when it alone is stored in FP8}} in the base model."""
    return {kind: asdict(error) for kind, error in fp8_error.by_kind(*_step(profile, seed, progress)).items()}


def kernel(_profile: Profile, seed: int, _progress: Progress) -> dict[str, bool | str]:
    """{order of the threads: whether the simulated kernel gives the formula's bits}, or {"missing": why it cannot run}."""
    if simulator.missing():
        return {"missing": simulator.missing()}
    x = torch.randn(96, 1000, generator=torch.Generator().manual_seed(seed)).bfloat16()
    expected, scales = quantize_fp8(x)
    same = {}
    for name, order in {"first to last": 1, "last to first": -1}.items():
        q, scale = kernels.quantize(x, run=partial(Kernel.simulate, order=order))
        same[name] = torch.equal(q.view(torch.uint8), expected.view(torch.uint8)) and torch.equal(scale, scales)
    return same


def fp8(profile: Profile, seed: int, progress: Progress) -> list[dict[str, list[float]]]:
    """Per seed {"plain" | "storage" | "products": losses} of the same training."""
    return stages.study(fp8_study.STUDY, profile, seed=seed, progress=progress)


def _step(profile: Profile, seed: int, progress: Progress) -> tuple[K2Model, Tensor]:
    """The base model and one batch [B, T + 1] of its corpus."""
    data, size = stages.corpus(profile, seed, progress), profile.memory
    return stages.base(profile, seed, progress).model, next(data.dataset.batches(size.batch_size, size.seq_len, seed))


def _normal(seed: int) -> Tensor:
    return torch.randn(256, 512, generator=torch.Generator().manual_seed(seed))
