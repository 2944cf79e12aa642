"""The RL loop: sample, score, one MuonClip step on the K2 objective plus PTX, next problems (section 3.2.3).

Every iteration samples from the current model, which is that iteration's π_old, so the log-ratio starts at zero. Sampling
temperature decays from exploring to exploiting, and the learning rate to a tenth. PTX, the usual loss on a few
fine-tuning rows, keeps what RL does not train. Some problems are set aside, as a development split: every few steps the
model is tried on them, and the best one seen, the starting one included, is what training returns.
Problems are of moderate difficulty: what the starting model always or never solves teaches nothing and is left out.
"""

import itertools
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import torch

from k2lib import machine
from k2lib.corpus.tokenizer import Tokenizer
from k2lib.model import K2Model
from k2lib.optim import MuonClip, schedule
from k2lib.profiles import RLSize
from k2lib.progress import Progress, silent
from k2lib.rl.objective import k2_policy_loss
from k2lib.rl.problems import Problem
from k2lib.rl.rollout import Sample, rollout, success_rates
from k2lib.train.batch import Batch

PROBES = 4  # samples per problem that estimate its difficulty
ATTEMPTS = 4  # sampled answers per held-out problem
PIECE = 4  # problems whose samples share a forward pass
DEVELOPMENT_ATTEMPTS = 2  # sampled answers per problem of the development split


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
    development: list[tuple[int, float]] = field(default_factory=list)  # (steps done, success on the development split)
    kept: int = 0  # steps after which the returned model stood
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
    progress: Progress = silent,
) -> list[Problem]:
    """The problems that the model solves sometimes: neither all nor none of a few samples."""
    chunks = [problems[i : i + 64] for i in range(0, len(problems), 64)]
    kept = []
    for number, chunk in enumerate(progress(chunks, "judge difficulty", len(chunks))):
        rates = success_rates(
            rollout(
                model,
                tokenizer,
                chunk,
                samples=PROBES,
                temperature=1.0,
                seed=seed + number,
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
    progress: Progress = silent,
) -> RLResult:
    """Train `model` in place and measure success on `heldout` before and after.

    The first `size.development` of `problems` are the development split; none of their questions is trained on.
    If fewer problems of moderate difficulty remain than one step needs, others fill up; `moderate` in the result tells.
    """
    development, problems = set_aside(problems, size.development)
    result = RLResult(evaluate(model, tokenizer, heldout), candidates=len(problems))
    pool = moderate(model, tokenizer, problems, seed=seed, progress=progress)
    result.moderate = len(pool)
    if (
        len(pool) < size.prompts
    ):  # a model too weak (or too strong) to have moderate problems still has something to try
        known = {id(problem) for problem in pool}
        pool += [problem for problem in problems if id(problem) not in known][: size.prompts - len(pool)]
    optimizer = MuonClip.for_model(model, lr=size.lr)
    best = Best(model, result, lambda: _mean(attempts(model, tokenizer, development, DEVELOPMENT_ATTEMPTS, 1.0)))
    rng = random.Random(f"rl/{seed}")
    order = itertools.chain.from_iterable(rng.sample(pool, len(pool)) for _ in itertools.count())
    for step in progress(range(size.steps), f"RL, seed {seed}", size.steps):
        temperature = temperature_at(step, size.steps, size.temperature)
        for group in optimizer.param_groups:
            group["lr"] = schedule.wsd(step, lr=size.lr, warmup=0, total=size.steps)
        groups = rollout(
            model,
            tokenizer,
            list(itertools.islice(order, size.prompts)),
            samples=size.samples,
            temperature=temperature,
            seed=seed * 100_003 + step,
        )
        loss = update(model, optimizer, groups, size, tokenizer.pad_id, next(ptx) if ptx else None)
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
        if (step + 1) % size.check_every == 0 or step + 1 == size.steps:
            best.look(step + 1)
    best.restore()
    model.eval()
    result.after = evaluate(model, tokenizer, heldout)
    return result


class Best:
    """The best model so far by its success on the development split, with a copy of its weights."""

    def __init__(self, model: K2Model, result: RLResult, success: Callable[[], float]):
        self.model, self.result, self.success, self.highest = model, result, success, -1.0
        self.look(0)

    def look(self, steps: int) -> None:
        """Measures the model after so many steps; keeps its weights if it is the best."""
        rate = self.success()
        self.result.development.append((steps, rate))
        if rate > self.highest:
            self.highest, self.result.kept = rate, steps
            self.weights = {name: value.clone() for name, value in self.model.state_dict().items()}

    def restore(self) -> None:
        self.model.load_state_dict(self.weights)


def set_aside(problems: list[Problem], count: int) -> tuple[list[Problem], list[Problem]]:
    """The first `count` problems, and the others that do not ask the same."""
    asked = {str(problem.messages) for problem in problems[:count]}
    return problems[:count], [problem for problem in problems[count:] if str(problem.messages) not in asked]


def update(
    model: K2Model,
    optimizer: MuonClip,
    groups: list[list[Sample]],
    size: RLSize,
    pad: int,
    ptx: Batch | None,
) -> float:
    """One optimisation step on [problem][K] samples; the policy loss.

    π_old is the model as it is now: its log-probabilities are those of this very forward pass, cut off from the gradient,
    so that sampling and training cannot disagree through precision.
    """
    where, total = model.embed_tokens.weight.device, 0.0
    model.train()
    for piece in pieces(groups):
        samples = [s for group in piece for s in group]
        batch = Batch.from_ragged([(s.ids, s.mask) for s in samples], pad).to(where)
        sequences = torch.cat((batch.tokens, batch.targets[:, -1:]), dim=1)
        with machine.precision(where):
            logp = model.token_logprobs(sequences, batch.weights.bool()).sum(1).view(len(piece), -1)  # [problems, K]
        valid = torch.tensor([s.reward is not None for s in samples], device=where).view_as(logp)
        rewards = torch.tensor([s.reward or 0.0 for s in samples], device=where).view_as(logp)
        loss = k2_policy_loss(logp, logp.detach(), rewards, size.tau, valid) * len(piece) / len(groups)
        (loss / (2 * size.tau)).backward()  # k1.5's scale: the gradient no longer depends on τ at the start
        total += loss.item()
    if ptx is not None:
        with machine.precision(where):
            (size.ptx_weight * model.loss(*ptx.to(where))).backward()
    optimizer.step()
    optimizer.zero_grad(set_to_none=True)
    return total


def pieces(groups: list[list[Sample]]) -> list[list[list[Sample]]]:
    """A few problems at a time, of similar length: padding all to the longest one would double the work."""
    ordered = sorted(groups, key=lambda group: max(len(s.ids) for s in group))
    return [ordered[i : i + PIECE] for i in range(0, len(ordered), PIECE)]


def evaluate(model: K2Model, tokenizer: Tokenizer, problems: list[Problem]) -> Success:
    """Success on each problem: the mean of sampled attempts, and the greedy answer's."""

    sampled = attempts(model, tokenizer, problems, ATTEMPTS, 1.0)
    return Success(sampled, greedy=attempts(model, tokenizer, problems, 1, 0.0))


def attempts(
    model: K2Model, tokenizer: Tokenizer, problems: list[Problem], samples: int, temperature: float
) -> list[float]:
    """[problem] share of `samples` answers that are right; the same seeds in every call."""
    found: list[float] = []
    for start in range(0, len(problems), 64):
        chunk = problems[start : start + 64]
        rolled = rollout(model, tokenizer, chunk, samples=samples, temperature=temperature, seed=start)
        found += success_rates(rolled).tolist()
    return found


def _mean(values: list[float]) -> float:
    return sum(values) / max(1, len(values))
