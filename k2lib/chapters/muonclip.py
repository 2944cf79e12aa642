"""Notebook 03: Muon's updates, AdamW beside it, the base model's training, logits with and without the clip (section 2.1)."""

from statistics import quantiles

import torch
from torch import nn
from transformers import LlamaConfig, LlamaForCausalLM

from k2lib import stages
from k2lib.optim import MuonClip, QKClip
from k2lib.profiles import Profile
from k2lib.progress import Progress
from k2lib.studies import growth as growth_study
from k2lib.studies import harm as harm_study
from k2lib.studies import heads as heads_study
from k2lib.studies import rates as rates_study
from k2lib.studies import tokens as tokens_study
from k2lib.studies import updates as updates_study

LIVELY, IDLE = 20, 400  # steps in which an expert gets gradients, and in which no token chooses it any more
RATE = 1e-3
REMEDIES = (heads_study.FREE, heads_study.HEADS, heads_study.LAYER, heads_study.CAPPED, heads_study.NORMALISED)
OWN_STEPS, OWN_RATE, OWN_TAU = 60, 3e-2, 10.0


def rates(profile: Profile, seed: int, progress: Progress) -> dict:
    """{model: {optimizer: [loss at each rate of its grid]}}, on the seed that no other study reports."""
    return stages.study(rates_study.STUDY, profile, seed=seed, progress=progress)[0]


def updates(profile: Profile, seed: int, progress: Progress) -> list[dict]:
    """Per seed {optimizer: {"gradient" | "momentum" | "update": {"rank", "rms": [matrix], "spectrum": of one}}}."""
    return stages.study(updates_study.STUDY, profile, seed=seed, progress=progress)


def tokens(profile: Profile, seed: int, progress: Progress) -> list[dict]:
    """Per seed {model: {"AdamW": run, "MuonClip": [run a share of the tokens], "entropy": {optimizer: [matrix]}}}."""
    return stages.study(tokens_study.STUDY, profile, seed=seed, progress=progress)


def base(profile: Profile, seed: int, progress: Progress) -> dict[str, list]:
    """The base model's training: {"loss": [step], "max_logits": [step][layer][head], "tokens a second": deciles 1, 5, 9}."""
    history = stages.base(profile, seed, progress).training["history"]
    deciles = quantiles([record["tokens"] / record["seconds"] for record in history], n=10)
    steps = {name: [record[name] for record in history] for name in ("loss", "max_logits")}
    return steps | {"tokens a second": deciles[::4]}


def growth(profile: Profile, seed: int, progress: Progress) -> list[dict]:
    """Per seed {arm: {multiple of its best rate: {"loss", "max_logit": [step]}}}."""
    return stages.study(growth_study.STUDY, profile, seed=seed, progress=progress)


def heads(profile: Profile, seed: int, progress: Progress) -> dict:
    """What the page shows of the study: {"runs": per seed {remedy: {"fresh": loss, "largest": [step]}}, "gamma": [step][layer]
    [head] of the first seed, "undeserved": [seed], "claims": {claim: [seed]}}."""
    runs, tau = stages.study(heads_study.STUDY, profile, seed=seed, progress=progress), profile.heads.tau
    return {
        "runs": [
            {
                name: {
                    "fresh": run[name]["fresh"],
                    "largest": [max(map(max, step)) for step in run[name]["max_logits"]],
                }
                for name in REMEDIES
            }
            for run in runs
        ],
        "gamma": heads_study.factors(runs[0][heads_study.HEADS]["max_logits"], tau).tolist(),
        "undeserved": [heads_study.undeserved(run[heads_study.LAYER]["max_logits"], tau) for run in runs],
        "claims": heads_study.values(profile, runs),
    }


def harm(profile: Profile, seed: int, progress: Progress) -> list[dict]:
    """Per seed {"Muon" | "MuonClip": {"fresh": loss, "clipped": share of heads, "answers": {kind: log p of a token}}}."""
    return stages.study(harm_study.STUDY, profile, seed=seed, progress=progress)


def idle(_profile: Profile, seed: int, _progress: Progress) -> dict[str, list[float]]:
    """How far a matrix moves, RMS over learning rate, in each step after its last gradient.

    As an expert of a stack, which MuonClip leaves alone; by Muon without that rule; by AdamW.
    """
    generator = torch.Generator().manual_seed(seed)
    stack, alone, table = (nn.Parameter(torch.zeros(shape)) for shape in ((2, 64, 32), (64, 32), (64, 32)))
    groups = [{"params": [stack, alone]}, {"params": [table], "algorithm": "adamw"}]
    optimizer = MuonClip(groups, lr=RATE, weight_decay=0.0)
    moved = {"MuonClip, an expert": [], "Muon without the rule": [], "AdamW": []}
    for step in range(LIVELY + IDLE):
        gradient = torch.randn(64, 32, generator=generator) * (step < LIVELY)
        stack.grad = torch.stack((gradient, torch.ones(64, 32)))
        alone.grad, table.grad = gradient.clone(), gradient.clone()
        watched = dict(zip(moved, (stack, alone, table), strict=True))
        before = {name: p.detach().clone() for name, p in watched.items()}
        optimizer.step()
        for name, parameter in watched.items():
            change = (parameter.detach() - before[name]) / RATE
            moved[name].append((change[0] if change.ndim == 3 else change).square().mean().sqrt().item())
    return {name: steps[LIVELY:] for name, steps in moved.items()}


def own_model(profile: Profile, seed: int, progress: Progress) -> dict[str, list[float]]:
    """Largest logit a step of a Llama of Hugging Face, trained by AdamW at a rate that hurts, without the clip and with it."""
    data = stages.corpus(profile, seed, progress)
    shape = {"hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2, "num_attention_heads": 4}
    config = LlamaConfig(vocab_size=data.tokenizer.vocab_size, num_key_value_heads=2, **shape)

    def largest(tau: float) -> list[float]:
        torch.manual_seed(seed)
        batches = data.dataset.batches(8, 64, seed)
        return [
            logit for _, logit in zip(range(OWN_STEPS), clipped(LlamaForCausalLM(config), batches, tau), strict=False)
        ]

    return {"no clip": largest(1e9), f"QK-Clip, τ = {OWN_TAU:g}": largest(OWN_TAU)}


def clipped(model, batches, tau):
    """Train any model with any optimizer and clip its heads; yields the largest logit of each step."""
    clip = QKClip.attach(model, tau=tau)
    optimizer = torch.optim.AdamW(model.parameters(), lr=OWN_RATE)
    for tokens in batches:
        optimizer.zero_grad()
        model(tokens, labels=tokens).loss.backward()
        optimizer.step()
        report = clip.step()
        yield max(head.max_logits.max().item() for head in report.values())
