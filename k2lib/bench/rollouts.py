"""Rollouts of very different length: with a token budget an iteration, after which episodes pause, and without (section 3.3).

The same problems are played to their end either way. Without a pause every iteration waits for its longest episode; with one, others
begin in the place of those that have ended. The weights are random and hardly ever end an answer, so that a problem's budget is its
length: most are short, a few very long (Pareto's distribution).
"""

import random
from functools import partial

import torch

from k2lib import machine
from k2lib.bench.model import CONFIG
from k2lib.bench.rounds import in_turns, report
from k2lib.config import K2Config
from k2lib.corpus import arithmetic
from k2lib.corpus.tokenizer import Tokenizer
from k2lib.gym.budgeted import Budgeted
from k2lib.gym.mathematics import Mathematics
from k2lib.model import K2Model
from k2lib.rl.rollout import Group, collect

PROBLEMS, SAMPLES, AT_ONCE = 32, 4, 8  # problems, episodes of each, problems under way in an iteration
SHORTEST, LONGEST, ALLOWANCE = 8, 256, 32  # tokens of an answer, and of an episode in one iteration


def run(dtype: str = "auto", rounds: int = 3) -> dict:
    """Times both ways in turns."""
    torch.manual_seed(0)
    where, rng = machine.device(), random.Random(0)
    texts = [f"{problem.question} {problem.answer}" for problem in arithmetic.problems(2000, 0)]
    tokenizer = Tokenizer.train(texts, CONFIG["vocab_size"])
    model = K2Model(K2Config.preset("nano").replace(**CONFIG | {"vocab_size": tokenizer.vocab_size})).to(where).eval()
    problems = [
        Budgeted(Mathematics(one), min(LONGEST, int(SHORTEST * rng.paretovariate(1))))
        for one in arithmetic.problems(PROBLEMS, 0, "train", 20)
    ]
    play = partial(finished, model, tokenizer, problems)
    ways = {f"paused after {ALLOWANCE} tokens": partial(play, ALLOWANCE), "played whole": partial(play, None)}
    with machine.precision(where, dtype):
        timings = in_turns(ways, rounds, warmup=1)
    extra = {name: {"episodes/s": round(PROBLEMS * SAMPLES / timing.median, 1)} for name, timing in timings.items()}
    used = machine.compute_dtype(where) if dtype == "auto" else dtype
    title = f"{PROBLEMS} problems, {SAMPLES} answers each, {SHORTEST} to {LONGEST} tokens, {used}, {torch.get_num_threads()} threads"
    return report(title, timings, extra)


def finished(model: K2Model, tokenizer: Tokenizer, problems: list, allowance: int | None) -> list[Group]:
    """All problems, played to their end in as many iterations as that takes."""
    left, waiting, done = list(enumerate(problems)), [], []

    def begin(count: int) -> list[Group]:
        taken = [left.pop(0) for _ in range(min(count, len(left)))]
        return [Group.start(number, problem, SAMPLES, tokenizer) for number, problem in taken]

    while left or waiting:
        how = {"temperature": 1.0, "seed": len(done), "allowance": allowance}
        over, waiting = collect(model, tokenizer, waiting, begin, AT_ONCE, **how)
        done += over
    return done
