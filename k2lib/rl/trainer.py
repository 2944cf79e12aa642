"""The RL loop: sample, score, one MuonClip step on the K2 objective plus PTX, next problems (section 3.2.3).

Every iteration samples from the current model, which is that iteration's π_old, so the log-ratio starts at zero. Sampling
temperature decays from exploring to exploiting. PTX, the usual loss on a few fine-tuning rows, keeps what RL does not train.
Problems are of moderate difficulty: what the starting model always or never solves teaches nothing and is left out.
"""

import itertools
import random
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field

import torch

from k2lib.corpus.tokenizer import Tokenizer
from k2lib.model import K2Model
from k2lib.optim import MuonClip
from k2lib.profiles import RLSize
from k2lib.rl.objective import k2_policy_loss
from k2lib.rl.problems import Problem
from k2lib.rl.rollout import Sample, rollout, success_rates
from k2lib.train.batch import Batch
from k2lib.train.loop import mixed_precision

PROBES = 4  # samples per problem that estimate its difficulty
ATTEMPTS = 4  # sampled answers per held-out problem


@dataclass(frozen=True)
class Success:
    """How often each held-out problem is solved, in [0, 1]."""

    sampled: list[float]  # mean of ATTEMPTS answers at temperature 1: what the objective is about
    greedy: list[float]  # the single most likely answer


@dataclass
class RLResult:
    before: Success
    after: Success | None = None
    history: list[dict] = field(default_factory=list)  # per step: reward, success, length, temperature, loss
    candidates: int = 0
    moderate: int = 0  # problems that the filter kept


def temperature_at(step: int, steps: int, ends: tuple[float, float]) -> float:
    """Linear decay from the first to the second temperature."""
    share = step / max(1, steps - 1)
    return ends[0] + (ends[1] - ends[0]) * share


def moderate(
    model: K2Model,
    tokenizer: Tokenizer,
    problems: list[Problem],
    *,
    seed: int,
    compute_dtype: str,
    progress: Callable[[Iterable, str, int], Iterable] | None = None,
) -> list[Problem]:
    """The problems that the model solves sometimes: neither all nor none of a few samples."""
    chunks = [problems[i : i + 64] for i in range(0, len(problems), 64)]
    kept = []
    for number, chunk in enumerate((progress or _silent)(chunks, "judge difficulty", len(chunks))):
        rates = success_rates(
            rollout(
                model,
                tokenizer,
                chunk,
                samples=PROBES,
                temperature=1.0,
                seed=seed + number,
                compute_dtype=compute_dtype,
            )
        )
        kept += [problem for problem, rate in zip(chunk, rates, strict=True) if 0 < rate < 1]
    return kept


def train_rl(
    model: K2Model,
    tokenizer: Tokenizer,
    problems: list[Problem],
    heldout: list[Problem],
    ptx: Iterator[Batch] | None,
    size: RLSize,
    *,
    seed: int = 0,
    compute_dtype: str = "float32",
    progress: Callable[[Iterable, str, int], Iterable] | None = None,
) -> RLResult:
    """Train `model` in place and measure success on `heldout` before and after.

    If fewer problems of moderate difficulty remain than one step needs, others fill up; `moderate` in the result tells.
    """
    result = RLResult(evaluate(model, tokenizer, heldout, compute_dtype), candidates=len(problems))
    pool = moderate(model, tokenizer, problems, seed=seed, compute_dtype=compute_dtype, progress=progress)
    result.moderate = len(pool)
    if (
        len(pool) < size.prompts
    ):  # a model too weak (or too strong) to have moderate problems still has something to try
        known = {id(problem) for problem in pool}
        pool += [problem for problem in problems if id(problem) not in known][: size.prompts - len(pool)]
    optimizer = MuonClip.for_model(model, lr=size.lr)
    rng = random.Random(f"rl/{seed}")
    order = itertools.chain.from_iterable(rng.sample(pool, len(pool)) for _ in itertools.count())
    for step in (progress or _silent)(range(size.steps), f"RL, seed {seed}", size.steps):
        temperature = temperature_at(step, size.steps, size.temperature)
        groups = rollout(
            model,
            tokenizer,
            list(itertools.islice(order, size.prompts)),
            samples=size.samples,
            temperature=temperature,
            seed=seed * 100_003 + step,
            compute_dtype=compute_dtype,
        )
        loss = update(model, optimizer, groups, size, tokenizer.pad_id, next(ptx) if ptx else None, compute_dtype)
        answers = [s for group in groups for s in group]
        known = [s.reward for s in answers if s.reward is not None]
        result.history.append(
            {
                "reward": sum(known) / max(1, len(known)),
                "success": sum(s.success for s in answers) / len(answers),
                "length": sum(len(s.answer) for s in answers) / len(answers),
                "temperature": temperature,
                "loss": loss,
            }
        )
    model.eval()
    result.after = evaluate(model, tokenizer, heldout, compute_dtype)
    return result


def update(
    model: K2Model,
    optimizer: MuonClip,
    groups: list[list[Sample]],
    size: RLSize,
    pad: int,
    ptx: Batch | None,
    compute_dtype: str,
) -> float:
    """One optimisation step on [problem][K] samples; the policy loss.

    π_old is the model as it is now: its log-probabilities are those of this very forward pass, cut off from the gradient,
    so that sampling and training cannot disagree through precision.
    """
    samples = [s for group in groups for s in group]
    batch = Batch.from_ragged([(s.ids, s.mask) for s in samples], pad)
    model.train()
    with mixed_precision(batch.tokens.device.type, compute_dtype):
        sequences = torch.cat((batch.tokens, batch.targets[:, -1:]), dim=1)
        logp = model.token_logprobs(sequences, batch.weights.bool()).sum(1).view(len(groups), -1)
        valid = torch.tensor([s.reward is not None for s in samples]).view_as(logp)
        rewards = torch.tensor([s.reward or 0.0 for s in samples]).view_as(logp)
        loss = k2_policy_loss(logp, logp.detach(), rewards, size.tau, valid)
        objective = loss / (2 * size.tau)  # k1.5's scale: the gradient no longer depends on τ at the start
        if ptx is not None:
            objective = objective + size.ptx_weight * model.loss(*ptx)
    objective.backward()
    optimizer.step()
    optimizer.zero_grad(set_to_none=True)
    return loss.item()


def evaluate(model: K2Model, tokenizer: Tokenizer, problems: list[Problem], compute_dtype: str) -> Success:
    """Success on each problem: the mean of sampled attempts, and the greedy answer's."""

    def rates(samples: int, temperature: float) -> list[float]:
        found: list[float] = []
        for start in range(0, len(problems), 64):
            chunk = problems[start : start + 64]
            options = {"samples": samples, "temperature": temperature, "seed": start, "compute_dtype": compute_dtype}
            found += success_rates(rollout(model, tokenizer, chunk, **options)).tolist()
        return found

    return Success(sampled=rates(ATTEMPTS, 1.0), greedy=rates(1, 0.0))


def _silent(iterable: Iterable, _description: str, _total: int) -> Iterable:
    return iterable
