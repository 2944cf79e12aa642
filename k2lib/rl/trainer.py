"""The RL loop: play, score, a few MuonClip updates on the K2 objective plus PTX, next problems (section 3.2.3).

Every iteration plays the current model, which is that iteration's π_old. Sampling temperature decays from exploring to
exploiting, and the learning rate to a tenth. Some problems are set aside, as a development split: every few iterations the model
is tried on them, and the best one seen, the starting one included, is what training returns. Problems are of moderate
difficulty: what the starting model always or never solves teaches nothing and is left out.
"""

import copy
import functools
import itertools
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field

from torch import Tensor

from k2lib.corpus.tokenizer import Tokenizer
from k2lib.gym.play import play, play_on, success_rates
from k2lib.gym.problem import Problem
from k2lib.model import K2Model
from k2lib.optim import MuonClip, schedule
from k2lib.profiles import RLSize
from k2lib.progress import Progress, silent
from k2lib.rl.curriculum import choose, moderate
from k2lib.rl.iteration import away, improve, pairs, told
from k2lib.rl.rollout import Group, Player, collect
from k2lib.train import Batch, Snapshot

PROBES = 4  # episodes per problem that estimate its difficulty
ATTEMPTS = 4  # sampled episodes per held-out problem
DEVELOPMENT_ATTEMPTS = 4  # sampled episodes per problem of the development split


@dataclass(frozen=True)
class Success:
    """How often each held-out problem is solved, in [0, 1]."""

    sampled: list[float]  # mean of ATTEMPTS episodes at temperature 1: what the objective is about
    greedy: list[float]  # the single most likely one


@dataclass
class RLResult:
    before: Success
    after: Success | None = None
    history: list[dict] = field(
        default_factory=list
    )  # per iteration: what `iteration.told` tells, temperature, violation
    development: list[tuple[int, float]] = field(
        default_factory=list
    )  # (iterations done, success on the development split)
    away: list[tuple[int, float]] = field(
        default_factory=list
    )  # (iterations done, KL from the starting model, nats a token)
    pairs: list[list[float]] = field(default_factory=list)  # of the last iteration's last pass: [(r − r̄)/τ, log-ratio]
    kept: int = 0  # iterations after which the returned model stood
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
    player: Player = play_on,
) -> RLResult:
    """Train `model` in place and measure success on `heldout` before and after.

    The first `size.development` of `problems` are the development split; none of their questions is trained on.
    If fewer problems of moderate difficulty remain than one iteration needs, others fill up; `moderate` in the result tells.
    `ptx(start)` yields the rows of PTX from update `start` on. `player` plays the iterations; difficulty, the development split and
    `heldout` are always tried here. A killed run goes on from its snapshot. RuntimeError if every
    episode of an iteration is void: the environment or its check is broken, and the message quotes why.
    """
    development, problems = set_aside(problems, size.development)
    start, optimizer = copy.deepcopy(model).eval(), MuonClip.for_model(model, lr=size.lr)
    state = snapshot.load(model, optimizer) if snapshot else {}
    if not state:
        result = RLResult(evaluate(model, tokenizer, heldout), candidates=len(problems))
        state = _begun(model, tokenizer, problems, size, result, seed, progress)
        _look(model, tokenizer, development, result, state, 0)
    else:
        kept = state["result"]
        result = RLResult(**kept | {"before": Success(**kept["before"])})
    waiting = [Group.restored(kept, problems[kept["number"]], tokenizer) for kept in state["waiting"]]
    rows, first = ptx(state["updates"]) if ptx else itertools.repeat(None), len(result.history)
    for step in progress(range(first, size.steps), f"RL, seed {seed}", size.steps - first):
        temperature, own = temperature_at(step, size.steps, size.temperature), seed * 100_003 + step
        begin = functools.partial(_begin, problems, tokenizer, size, state, step / max(1, size.steps - 1), seed)
        how = {"temperature": temperature, "seed": own, "allowance": size.allowance, "player": player}
        done, waiting = collect(model, tokenizer, waiting, begin, size.prompts, **how)
        groups = [group.episodes for group in done if group.fresh]
        void = _void(done, waiting)
        for group in done:
            (state["now"][group.number],) = success_rates([group.episodes])
        record = {"temperature": temperature, "groups": len(groups), "void": void}
        if groups:
            optimizer = MuonClip.for_model(model, lr=size.lr) if size.reset else optimizer
            lr = schedule.wsd(step, lr=size.lr, warmup=0, total=size.steps)
            seen, violation = improve(model, optimizer, groups, size, lr, tokenizer.pad_id, rows, own)
            state["updates"] += len(seen)
            record |= told(groups, seen, size) | {"violation": violation, "void": void}
            result.pairs = pairs(seen, size.minibatches)
        result.history.append(record)
        if (step + 1) % size.check_every == 0 or step + 1 == size.steps:
            _look(model, tokenizer, development, result, state, step + 1)
            result.away += [(step + 1, away(start, groups, tokenizer.pad_id))] if groups else []
            if size.patience and step + 1 - result.kept >= size.patience * size.check_every:
                break
        if snapshot and snapshot.due:
            state |= {"waiting": [group.saved() for group in waiting], "result": asdict(result)}
            snapshot.save(model, optimizer, state)
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


def _begun(model, tokenizer, problems, size: RLSize, result: RLResult, seed: int, progress: Progress) -> dict:
    """The state of a run before its first iteration: which problems are of moderate difficulty, and what a snapshot keeps besides."""
    how = {"samples": PROBES, "temperature": 1.0, "seed": seed, "progress": progress}
    rates = success_rates(play(model, tokenizer, problems, description="judge difficulty", **how))
    pool, result.moderate = moderate(rates, size.prompts)
    pool = pool if size.moderate else list(range(len(problems)))
    return {"pool": pool, "first": rates, "now": list(rates), "drawn": 0, "updates": 0, "waiting": [], "weights": {}}


def _begin(problems, tokenizer, size: RLSize, state: dict, share: float, seed: int, count: int) -> list[Group]:
    """The next groups of episodes, before their first turn."""
    known = (state["pool"], state["first"], state["now"])
    numbers = choose(size.sampling, *known, count, state["drawn"], share, seed)
    state["drawn"] += len(numbers)
    return [Group.start(number, problems[number], size.samples, tokenizer) for number in numbers]


def _void(done: list[Group], waiting: list[Group]) -> int:
    """How many of the episodes that ended are void. RuntimeError if all are, and no other goes on."""
    outcomes = [one.outcome for group in done for one in group.episodes]
    void = [one for one in outcomes if one.status == "void"]
    if void and len(void) == len(outcomes) and not waiting:
        raise RuntimeError(
            f"all {len(void)} episodes of an iteration are void, the first because: {void[0].why}; mend the environment, "
            "its check or the sandbox, and give the same command again"
        )
    return len(void)


def _look(model, tokenizer, development: list[Problem], result: RLResult, state: dict, steps: int) -> None:
    """Tries the model on the development split after so many iterations; keeps a copy of its weights if it is the best."""
    rates = attempts(model, tokenizer, development, DEVELOPMENT_ATTEMPTS, 1.0)
    rate = sum(rates) / max(1, len(rates))
    if not state["weights"] or rate > max(seen for _, seen in result.development):
        result.kept, state["weights"] = steps, _copy(model)
    result.development.append((steps, rate))


def _copy(model: K2Model) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in model.state_dict().items()}
