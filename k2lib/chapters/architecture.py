"""Notebook 02: our logits beside another implementation's, the routers' balance, and who is routed where (section 2.3)."""

import itertools

import torch

from k2lib import machine, stages
from k2lib.corpus import arithmetic, stdlib
from k2lib.model import K2Model
from k2lib.model import parity as peers
from k2lib.profiles import Profile
from k2lib.progress import Progress
from k2lib.studies import routing

FROZEN_STEPS = 200  # of the router that nothing but the bias moves
WINDOW, WINDOWS = 128, 64  # tokens of one, and of each kind of text at most so many


def parity(_profile: Profile, seed: int, progress: Progress) -> dict[str, float]:
    """{config: largest difference of a logit in fp32} between ours and transformers' model with the same weights."""
    cases = peers.cases()
    return {name: peers.largest_difference(case, seed) for name, case in progress(cases.items(), "compare", len(cases))}


def balancing(profile: Profile, seed: int, _progress: Progress) -> dict[str, list[float]]:
    """{arm: load violation a step} of one frozen, skewed router on random inputs."""
    return routing.balancing(stages.config(profile), steps=FROZEN_STEPS, seed=seed)


def load(profile: Profile, seed: int, progress: Progress) -> list[dict[str, list[float]]]:
    """Per seed {arm: load violation of the worst layer a step}, of short trainings on the corpus."""
    return stages.study(routing.STUDY, profile, seed=seed, progress=progress)


def preference(profile: Profile, seed: int, progress: Progress) -> dict[str, dict[str, list[float]]]:
    """{"untrained" | "trained": {kind of text: share of its choices that fell on each expert of the last layer}}."""
    data, size, config = stages.corpus(profile, seed, progress), profile.routing, stages.config(profile)
    texts: dict[str, list[int]] = {}
    for document in itertools.chain(
        stdlib.stdlib_documents(1_000_000, seed), data.world.documents(2), arithmetic.documents(400, seed)
    ):
        texts.setdefault(document.kind, []).extend(data.tokenizer.encode(document.text))
    rows = {
        kind: torch.tensor(ids[: min(len(ids) // WINDOW, WINDOWS) * WINDOW]).view(-1, WINDOW)
        for kind, ids in texts.items()
    }
    trained, _ = routing.trained(config, data.dataset, size, size.bias_rate, seed, progress)
    torch.manual_seed(seed)
    untrained = K2Model(config).to(machine.device())
    return {
        when: {kind: routing.expert_shares(model, tokens)[-1].tolist() for kind, tokens in rows.items()}
        for when, model in {"untrained": untrained, "trained": trained}.items()
    }
