"""Does an aggressive clip cost anything at a sane rate? Loss, and answers to questions, with it and without (Appendix D).

The paper trains two models of 3 billion parameters, one with τ = 30, and finds a negligible difference. Here τ lies below
what most heads reach, so the clip acts during much of the run. Answers are judged by the probability that the model gives
to the right one: models this small seldom write it, and probabilities move long before answers do.
"""

import itertools
import statistics

import torch
from torch import Tensor

from k2lib.config import K2Config
from k2lib.corpus import arithmetic
from k2lib.corpus.packing import PackedDataset
from k2lib.corpus.tokenizer import Tokenizer
from k2lib.corpus.world import World, question_text
from k2lib.model import K2Model
from k2lib.profiles import Profile
from k2lib.progress import Progress
from k2lib.studies.study import Study
from k2lib.studies.training import Arm, fresh_loss, trained

ARMS = ("Muon", "MuonClip")
QUESTIONS = 300  # of each kind
BATCH = 64


def measure(
    config: K2Config, dataset: PackedDataset, profile: Profile, run: int, progress: Progress
) -> dict[str, dict]:
    """{"Muon" | "MuonClip": {"fresh": loss, "clipped": share of heads, "answers": {kind: mean log p of a token}}}."""
    size, found = profile.harm, {}
    config = config.replace(**size.large.fields)
    asked = questions(dataset, profile)
    for name, tau in zip(ARMS, (None, size.tau), strict=True):
        arm = Arm(name, size.large.muon, tau=tau)
        model, optimizer, _ = trained(config, dataset, size, arm, run + 1, progress)
        clipped = [one.ever_clipped for one in optimizer.clip_report.values()]
        found[name] = {
            "fresh": fresh_loss(model, dataset, size, run + 1),
            "clipped": torch.cat(clipped).float().mean().item() if clipped else 0.0,
            "answers": {kind: answered(model, pairs) for kind, pairs in asked.items()},
        }
    return found


def values(_profile: Profile, results: list[dict]) -> dict[str, list[float]]:
    """One number a seed for each claim: what the clip adds to the loss, and takes from an answer's log p."""
    pairs = [tuple(result[name] for name in ARMS) for result in results]
    return {
        "aggressive-clip-costs-no-loss": [clipped["fresh"] - free["fresh"] for free, clipped in pairs],
        "qk-clip-costs-no-skill": [
            statistics.mean(free["answers"][kind] - clipped["answers"][kind] for kind in free["answers"])
            for free, clipped in pairs
        ],
    }


def questions(dataset: PackedDataset, profile: Profile) -> dict[str, list[tuple[list[int], list[int]]]]:
    """{kind: [(prompt, answer)] as ids}: facts of people whom the corpus never asks about, and problems that it does not hold."""
    seed, split = dataset.manifest["seed"], profile.judged_on
    tokenizer = Tokenizer.load(dataset.directory.parent / "tokenizer")
    world = World.generate(seed, profile.corpus.people)
    about = (question for person in world.of(split) for question in world.questions(person))
    facts = [(question_text(qa.question), f" {qa.answer}") for qa in itertools.islice(about, QUESTIONS)]
    problems = arithmetic.problems(QUESTIONS, seed, split, profile.corpus.largest_number)
    sums = [(f"Problem: {p.question}\nSolution:", f" {arithmetic.solution(p)}") for p in problems]
    return {
        kind: [(tokenizer.encode(asks), tokenizer.encode(answer)) for asks, answer in texts]
        for kind, texts in (("knowledge", facts), ("mathematics", sums))
    }


@torch.no_grad()
def answered(model: K2Model, pairs: list[tuple[list[int], list[int]]]) -> float:
    """Mean log p, nats, of an answer's tokens after its prompt."""
    total, count, where = 0.0, 0, next(model.parameters()).device
    for few in (pairs[i : i + BATCH] for i in range(0, len(pairs), BATCH)):
        tokens, wanted = _padded(few)
        total += model.token_logprobs(tokens.to(where), wanted.to(where)).sum().item()
        count += int(wanted.sum())
    return total / count


def _padded(pairs: list[tuple[list[int], list[int]]]) -> tuple[Tensor, Tensor]:
    """tokens [B, T + 1], and which targets [B, T] are an answer's; what is behind an answer changes nothing before it."""
    longest = max(len(prompt) + len(answer) for prompt, answer in pairs)
    tokens, wanted = (torch.zeros(len(pairs), longest, dtype=kind) for kind in (torch.long, torch.bool))
    for row, (prompt, answer) in enumerate(pairs):
        end = len(prompt) + len(answer)
        tokens[row, :end] = torch.tensor(prompt + answer)
        wanted[row, len(prompt) : end] = True
    return tokens, wanted[:, 1:]


STUDY = Study("03_muonclip", "harm", measure, values)
