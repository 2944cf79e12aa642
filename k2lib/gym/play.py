"""A model plays episodes, many at once, turn by turn; what it said is kept as the token ids that it sampled.

Never rendered again: text that is tokenized a second time need not give the same ids, and RL trains on these.
A turn that does not end within the problem's budget is cut, and the episode with it (section 3.2.3). An episode may also pause
in the middle of a turn, and go on later under newer weights (section 3.3). Where an environment or a check fails, the episode
is void: it counts neither as solved nor as failed.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property

from k2lib.corpus.tokenizer import Tokenizer
from k2lib.gym.outcome import Outcome, outcome
from k2lib.gym.problem import Episode, Problem
from k2lib.llm import chat
from k2lib.llm.local import Turn, sample_turns
from k2lib.model import K2Model
from k2lib.progress import Progress, silent

MOST_TURNS = 8  # of the assistant
BATCH = 128  # turns sampled together


@dataclass
class Played:
    problem: Problem
    episode: Episode
    ids: list[int]  # the whole conversation, as the model saw and wrote it
    mask: list[bool]  # which of them the model wrote
    corpus_form: bool = False  # asked as the corpus would, not in a conversation
    logprobs: list[float] = field(default_factory=list)  # of each token that it wrote, at temperature 1
    truncated: bool = False
    lost: list[str] = field(default_factory=list)  # what could not be read in the turn that was cut
    unfinished: list[int] = field(default_factory=list)  # of a turn that was paused
    turns: int = 0  # that have ended
    since: int = 0  # the place in `ids` from which on the present weights wrote
    broken: str = ""  # why the environment could not go on

    @classmethod
    def start(cls, problem: Problem, tokenizer: Tokenizer, corpus_form: bool = False) -> "Played":
        """An episode before its first turn."""
        corpus_form = corpus_form and problem.plain is not None
        asked, episode = tokenizer.encode(problem.plain) if corpus_form else None, problem.episode()
        ids = asked or chat.encode(tokenizer, episode.messages, episode.tools)[0]
        return cls(problem, episode, ids, [False] * len(ids), corpus_form)

    @property
    def over(self) -> bool:
        return bool(self.truncated or self.broken or self.episode.over or self.turns >= MOST_TURNS)

    @cached_property
    def outcome(self) -> Outcome:
        """What the episode came to, once it is over; one that was cut fails with a score of 0."""
        if self.broken:
            return Outcome("void", 0.0, self.broken)
        return Outcome("fail", 0.0, "it was cut") if self.truncated else outcome(self.episode)

    @property
    def score(self) -> float | None:
        """The outcome's; None if it is void."""
        return None if self.outcome.status == "void" else self.outcome.score

    @property
    def solved(self) -> bool:
        return self.outcome.status == "pass"

    @property
    def trained(self) -> list[bool]:
        """[token] what the present weights wrote."""
        return [own and place >= self.since for place, own in enumerate(self.mask)]

    @property
    def left(self) -> int:
        """Tokens that the present turn may still take."""
        return self.problem.budget - len(self.unfinished)

    def take(self, turn: Turn, tokenizer: Tokenizer, paused: bool = False) -> None:
        """What the model says next; unless it is paused in the middle of its turn, what tools and user answer, or the end."""
        self._read(turn.tokens, wrote=True)
        self.logprobs += turn.logprobs
        said, self.unfinished = [*self.unfinished, *turn.tokens], []
        if paused:
            self.unfinished = said
            return
        self.turns += 1
        parsed = turn.parsed if len(said) == len(turn.tokens) else chat.parse_ids(said, tokenizer)
        if self.corpus_form:  # a base model ends no turn: its answer is the first line
            line = parsed.message["content"].strip().split("\n")[0]
            parsed = chat.Parsed({"role": "assistant", "content": line}, [])
        elif not turn.finished:
            self.truncated, self.lost = True, parsed.faults
            return
        try:
            self._answered(parsed, tokenizer)
        except Exception as error:  # the environment's own: a server that is gone, a sandbox that died
            self.broken = f"{type(error).__name__}: {error}"

    def _answered(self, said: chat.Parsed, tokenizer: Tokenizer) -> None:
        known = len(self.episode.messages)
        self.episode.step(said.message, said.faults)
        if not self.episode.over:
            self._read(chat.continuation(tokenizer, self.episode.messages[known + 1 :]), wrote=False)

    def _read(self, ids: list[int], wrote: bool) -> None:
        self.ids += ids
        self.mask += [wrote] * len(ids)


def play(
    model: K2Model,
    tokenizer: Tokenizer,
    problems: Sequence[Problem],
    *,
    samples: int = 1,
    temperature: float = 0.0,
    seed: int = 0,
    corpus_form: bool = False,
    enforced: bool = False,
    progress: Progress = silent,
    description: str = "play",
) -> list[list[Played]]:
    """[problem][sample] episodes, each played to its end; what one draws does not depend on the others.

    `corpus_form` asks as the corpus would (`Problem.plain`) where a problem can be asked so; `enforced` lets through valid
    tool calls only.
    """
    groups = [[Played.start(one, tokenizer, corpus_form) for _ in range(samples)] for one in problems]
    how = {"temperature": temperature, "seed": seed, "enforced": enforced}
    play_on(
        model, tokenizer, [one for group in groups for one in group], **how, progress=progress, description=description
    )
    return groups


def play_on(
    model: K2Model,
    tokenizer: Tokenizer,
    episodes: list[Played],
    *,
    temperature: float = 0.0,
    seed: int = 0,
    allowance: int | None = None,
    enforced: bool = False,
    progress: Progress = silent,
    description: str = "play",
) -> None:
    """Plays episodes on, to their end or until each has written `allowance` more tokens.

    ValueError for an allowance together with `enforced`, which cannot go on in the middle of a turn.
    """
    if allowance is not None and enforced:
        raise ValueError("an enforced turn cannot be paused; leave out the allowance, or do not enforce")
    left = [math.inf if allowance is None else allowance] * len(episodes)
    rows = list(enumerate(episodes))
    for start in progress(range(0, len(rows), BATCH), description, -(-len(rows) // BATCH)):
        while running := [(row, one) for row, one in rows[start : start + BATCH] if left[row] and _goes_on(model, one)]:
            how = {
                "budgets": [min(one.left, left[row]) for row, one in running],
                "seed": [(seed * 1_000_003 + row) * MOST_TURNS + one.turns for row, one in running],
                "temperature": temperature,
            }
            if enforced:
                how["tools"] = [one.problem.tools or [] for _, one in running]
            turns = sample_turns(model, tokenizer, [one.ids for _, one in running], **how)
            for (row, one), said in zip(running, turns, strict=True):
                paused = not said.finished and left[row] < one.left
                left[row] -= len(said.tokens)
                one.take(said, tokenizer, paused)


def _goes_on(model: K2Model, one: Played) -> bool:
    """Whether there is more to say; a conversation that outgrows the model's positions is cut."""
    if one.over:
        return False
    one.truncated = len(one.ids) + one.left > model.config.max_position_embeddings
    return not one.truncated


def success_rates(played: list[list[Played]]) -> list[float]:
    """[problem] share of its episodes that are solved, those aside that are void; 0 where all are."""
    known = [[one.solved for one in group if one.outcome.status != "void"] for group in played]
    return [sum(group) / max(1, len(group)) for group in known]
