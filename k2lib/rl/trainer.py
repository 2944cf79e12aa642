"""The RL loop: play, score, one MuonClip step on the K2 objective plus PTX, next problems (section 3.2.3).

Every iteration plays the current model, which is that iteration's π_old, so the log-ratio starts at zero. Sampling
temperature decays from exploring to exploiting, and the learning rate to a tenth. Some problems are set aside, as a
development split: every few steps the model is tried on them, and the best one seen, the starting one included, is what
training returns. Problems are of moderate difficulty: what the starting model always or never solves teaches nothing and
is left out.
"""

import itertools
import random
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field

from torch import Tensor

from k2lib.corpus.tokenizer import Tokenizer
from k2lib.gym.play import Played, play, success_rates
from k2lib.gym.problem import Problem
from k2lib.model import K2Model
from k2lib.optim import MuonClip, schedule
from k2lib.profiles import RLSize
from k2lib.progress import Progress, silent
from k2lib.rl.policy import policy_gradients, reward
from k2lib.train import Batch, Snapshot
from k2lib.train.step import update

PROBES = 4  # episodes per problem that estimate its difficulty
ATTEMPTS = 4  # sampled episodes per held-out problem
DEVELOPMENT_ATTEMPTS = 2  # sampled episodes per problem of the development split


@dataclass(frozen=True)
class Success:
    """How often each held-out problem is solved, in [0, 1]."""

    sampled: list[float]  # mean of ATTEMPTS episodes at temperature 1: what the objective is about
    greedy: list[float]  # the single most likely one


@dataclass
class RLResult:
    before: Success
    after: Success | None = None
    history: list[dict] = field(default_factory=list)  # per step: reward, success, length, temperature, loss, violation
    development: list[tuple[int, float]] = field(default_factory=list)  # (steps done, success on the development split)
    kept: int = 0  # steps after which the returned model stood
    candidates: int = 0
    moderate: int = 0  # problems that the filter kept


def train_rl(
    model: K2Model,
    tokenizer: Tokenizer,
    problems: list[Problem],
    heldout: list[Problem],
    ptx: Callable[[int], Iterator[Batch]] | None,
    size: RLSize,
    *,
    seed: int = 0,
    progress: Progress = silent,
    snapshot: Snapshot | None = None,
) -> RLResult:
    """Train `model` in place and measure success on `heldout` before and after.

    The first `size.development` of `problems` are the development split; none of their questions is trained on.
    If fewer problems of moderate difficulty remain than one step needs, others fill up; `moderate` in the result tells.
    `ptx(start)` yields the rows of PTX from step `start` on. A killed run goes on from its snapshot.
    """
    development, problems = set_aside(problems, size.development)
    optimizer = MuonClip.for_model(model, lr=size.lr)
    state = snapshot.load(model, optimizer) if snapshot else {}
    if not state:
        result = RLResult(evaluate(model, tokenizer, heldout), candidates=len(problems))
        state = {"pool": _pool(model, tokenizer, problems, size, result, seed, progress), "weights": {}}
        _look(model, tokenizer, development, result, state, 0)
    else:
        saved = state["result"]
        result = RLResult(**saved | {"before": Success(**saved["before"])})
    start = len(result.history)
    order = itertools.islice(_order(state["pool"], seed), start * size.prompts, None)
    rows = ptx(start) if ptx else itertools.repeat(None)
    for step in progress(range(start, size.steps), f"RL, seed {seed}", size.steps - start):
        temperature = temperature_at(step, size.steps, size.temperature)
        chosen = [problems[i] for i in itertools.islice(order, size.prompts)]
        how = {"samples": size.samples, "temperature": temperature, "seed": seed * 100_003 + step}
        groups = play(model, tokenizer, chosen, **how)
        model.train()
        loss = policy_gradients(model, groups, size, tokenizer.pad_id, next(rows))
        observed = update(model, optimizer, schedule.wsd(step, lr=size.lr, warmup=0, total=size.steps))
        measured = {"temperature": temperature, "loss": loss, "violation": observed.violation}
        result.history.append(_summary(groups) | measured)
        if (step + 1) % size.check_every == 0 or step + 1 == size.steps:
            _look(model, tokenizer, development, result, state, step + 1)
        if snapshot and snapshot.due:
            snapshot.save(model, optimizer, state | {"result": asdict(result)})
    model.load_state_dict(state["weights"])
    model.eval()
    result.after = evaluate(model, tokenizer, heldout)
    return result


def temperature_at(step: int, steps: int, ends: tuple[float, float]) -> float:
    """Linear decay from the first to the second temperature."""
    share = step / max(1, steps - 1)
    return ends[0] + (ends[1] - ends[0]) * share


def set_aside(problems: list[Problem], count: int) -> tuple[list[Problem], list[Problem]]:
    """The first `count` problems, and the others that do not ask the same."""
    asked = {str(problem.messages) for problem in problems[:count]}
    return problems[:count], [problem for problem in problems[count:] if str(problem.messages) not in asked]


def evaluate(model: K2Model, tokenizer: Tokenizer, problems: list[Problem]) -> Success:
    """Success on each problem: the mean of sampled episodes, and the greedy one's; the same seeds in every call."""
    sampled = attempts(model, tokenizer, problems, ATTEMPTS, 1.0)
    return Success(sampled, greedy=attempts(model, tokenizer, problems, 1, 0.0))


def attempts(
    model: K2Model, tokenizer: Tokenizer, problems: list[Problem], samples: int, temperature: float
) -> list[float]:
    """[problem] share of `samples` episodes that are solved."""
    return success_rates(play(model, tokenizer, problems, samples=samples, temperature=temperature))


def _pool(model, tokenizer, problems, size: RLSize, result: RLResult, seed: int, progress: Progress) -> list[int]:
    """Numbers of the problems that the model solves sometimes: neither all nor none of a few episodes."""
    how = {"samples": PROBES, "temperature": 1.0, "seed": seed, "progress": progress}
    rates = success_rates(play(model, tokenizer, problems, description="judge difficulty", **how))
    moderate = [i for i, rate in enumerate(rates) if 0 < rate < 1]
    result.moderate = len(moderate)
    others = [i for i in range(len(problems)) if i not in set(moderate)]
    return moderate + others[: max(0, size.prompts - len(moderate))]


def _order(pool: list[int], seed: int) -> Iterator[int]:
    """The pool, shuffled anew each time round."""
    rng = random.Random(f"rl/{seed}")
    while True:
        yield from rng.sample(pool, len(pool))


def _look(model, tokenizer, development: list[Problem], result: RLResult, state: dict, steps: int) -> None:
    """Tries the model on the development split after so many steps; keeps a copy of its weights if it is the best."""
    rate = _mean(attempts(model, tokenizer, development, DEVELOPMENT_ATTEMPTS, 1.0))
    if not state["weights"] or rate > max(seen for _, seen in result.development):
        result.kept, state["weights"] = steps, _copy(model)
    result.development.append((steps, rate))


def _copy(model: K2Model) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in model.state_dict().items()}


def _summary(groups: list[list[Played]]) -> dict[str, float]:
    episodes = [one for group in groups for one in group]
    return {
        "reward": _mean([r for r in map(reward, episodes) if r is not None]),
        "success": _mean([float(one.solved) for one in episodes]),
        "length": _mean([float(sum(one.mask)) for one in episodes]),
    }


def _mean(values: list[float]) -> float:
    return sum(values) / max(1, len(values))
