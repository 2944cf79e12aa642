"""RL in which a critic gives the reward where no program can, and learns where one can: the closed loop (section 3.2.2).

Two kinds of problems: verifiable ones, whose answers are the critic's lessons, and judged ones, whose reward is the critic's ranking of
their K answers. Here judged problems are verifiable, too, but nobody looks at that in training: it shows whether what the critic
rewards is what is right, or only what the critic likes.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field

from k2lib.corpus.tokenizer import Tokenizer
from k2lib.gym.outcome import Outcome
from k2lib.gym.play import Played, play, success_rates
from k2lib.gym.problem import Problem
from k2lib.model import K2Model
from k2lib.optim import MuonClip, schedule
from k2lib.progress import Progress, silent
from k2lib.rl.critic import agreement, lessons, ranked
from k2lib.rl.curriculum import choose
from k2lib.rl.iteration import improve
from k2lib.sizes import RLSize
from k2lib.train import finetune
from k2lib.train.batch import Batch
from k2lib.train.step import backward, update

LESSON_LENGTH, LESSONS = 256, 16  # tokens of a packed sequence of lessons, sequences of an update
SCHOOL = 40  # updates of the critic before RL, on answers of the model that RL starts from
RATE = 1e-3  # of the critic's learning


@dataclass
class CriticRun:
    """Of each iteration, before its updates."""

    verifiable: list[float] = field(default_factory=list)  # share solved of the problems with a known reward
    judged: list[float] = field(default_factory=list)  # of those that the critic rewards, which training does not see
    reward: list[float] = field(default_factory=list)  # what the critic gives a right answer more than a wrong one
    agreement: list[list[float | None]] = field(
        default_factory=list
    )  # of the critic with the truth: [verifiable, judged]


def train_with_critic(
    policy: K2Model,
    critic: K2Model,
    tokenizer: Tokenizer,
    verifiable: list[Problem],
    judged: list[Problem],
    size: RLSize,
    *,
    closed: bool,
    rubric: str = "",
    seed: int = 0,
    progress: Progress = silent,
) -> CriticRun:
    """Trains the policy in place, and the critic before it; with `closed` the critic goes on learning from every iteration.

    Half of an iteration's problems are of each kind. ValueError where a kind has too few.
    """
    half = size.prompts // 2
    if min(len(verifiable), len(judged)) < half:
        raise ValueError(
            f"{len(verifiable)} verifiable and {len(judged)} judged problems; an iteration needs {half} of each"
        )
    teacher, optimizer = MuonClip.for_model(critic, lr=RATE), MuonClip.for_model(policy, lr=size.lr)
    first = play(policy, tokenizer, verifiable, samples=size.samples, temperature=1.0, seed=seed)
    taught(critic, teacher, tokenizer, first, SCHOOL, RATE, seed)
    run, rows = CriticRun(), _nothing()
    for step in progress(range(size.steps), f"RL with a critic, seed {seed}", size.steps):
        own = seed * 100_003 + step
        batches = [_batch(problems, half, step, seed) for problems in (verifiable, judged)]
        how = {"samples": size.samples, "temperature": 1.0, "seed": own}
        known, open_ = (play(policy, tokenizer, batch, **how) for batch in batches)
        _note(run, critic, tokenizer, known, open_, rubric)
        run.reward.append(reward_by_critic(critic, tokenizer, open_, rubric))
        lr = schedule.wsd(step, lr=size.lr, warmup=0, total=size.steps)
        improve(policy, optimizer, known + open_, size, lr, tokenizer.pad_id, rows, own)
        if closed:
            taught(critic, teacher, tokenizer, known, 1, RATE, own)
    return run


def taught(
    critic: K2Model, optimizer, tokenizer: Tokenizer, groups: list[list[Played]], updates: int, lr: float, seed: int
) -> None:
    """Some updates of the critic on the lessons of groups, none where no group has a right and a wrong answer."""
    rows, _ = finetune.encode_rows(lessons(groups, seed), tokenizer, LESSON_LENGTH)
    if not rows:
        return
    count = min(LESSONS, len(finetune.packed(range(len(rows)), rows, LESSON_LENGTH)))
    batches = finetune.batches(rows, count, LESSON_LENGTH, tokenizer.pad_id, seed)(0)
    critic.train()
    for _ in range(updates):
        backward(critic, next(batches))
        update(critic, optimizer, lr)


def reward_by_critic(critic: K2Model, tokenizer: Tokenizer, groups: list[list[Played]], rubric: str = "") -> float:
    """Puts the critic's ranking in the place of what each episode came to; what it gives right answers more than wrong ones, on average.

    An answer that was cut keeps its penalty, and one that is void stays void.
    """
    given: dict[bool, list[float]] = {True: [], False: []}
    for group in groups:
        whole = [one for one in group if not one.truncated and one.outcome.status != "void"]
        if not whole:
            continue
        answers = [str(one.episode.messages[-1].get("content") or "") for one in whole]
        for one, value in zip(whole, ranked(critic, tokenizer, one_prompt(group), answers, rubric), strict=True):
            given[one.solved].append(value)
            one.outcome = Outcome("fail", value)  # nobody knows whether it is right
    means = {solved: sum(values) / len(values) if values else 0.5 for solved, values in given.items()}
    return means[True] - means[False]


def one_prompt(group: list[Played]) -> str:
    """What the answers of a group are answers to."""
    return group[0].problem.messages[-1]["content"]


def _note(run: CriticRun, critic, tokenizer, known: list[list[Played]], open_: list[list[Played]], rubric: str) -> None:
    """The truth about an iteration, before the critic's rewards stand in its place."""
    for kept, groups in ((run.verifiable, known), (run.judged, open_)):
        rates = success_rates(groups)
        kept.append(sum(rates) / len(rates))
    run.agreement.append([agreement(critic, tokenizer, groups, rubric) for groups in (known, open_)])


def _batch(problems: list[Problem], count: int, step: int, seed: int) -> list[Problem]:
    pool = list(range(len(problems)))
    rates = [0.0] * len(problems)
    return [problems[i] for i in choose("uniform", pool, rates, rates, count, step * count, 0.0, seed)]


def _nothing() -> Iterator[Batch | None]:
    while True:
        yield None
