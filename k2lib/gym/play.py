"""A model plays episodes, many at once, turn by turn; what it said is kept as the token ids that it sampled.

Never rendered again: text that is tokenized a second time need not give the same ids, and RL trains on these.
A turn that does not end within the problem's budget is cut, and the episode with it (section 3.2.3).
"""

from dataclasses import dataclass, field

from k2lib.corpus.tokenizer import Tokenizer
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
    corpus_form: bool  # asked as the corpus would, not in a conversation
    logprobs: list[float] = field(default_factory=list)  # of each token that it wrote, at temperature 1
    truncated: bool = False
    lost: list[str] = field(default_factory=list)  # what could not be read in the turn that was cut

    @property
    def score(self) -> float | None:
        """The episode's, and 0 for one that was cut."""
        return 0.0 if self.truncated else self.episode.score()

    @property
    def solved(self) -> bool:
        return self.score is not None and self.score >= 1.0

    def take(self, turn: Turn, tokenizer: Tokenizer) -> None:
        """The model's next turn; then what tools and user answer, or the end."""
        self._read(turn.tokens, wrote=True)
        self.logprobs += turn.logprobs
        if self.corpus_form:  # a base model ends no turn: its answer is the first line
            line = turn.parsed.message["content"].strip().split("\n")[0]
            self.episode.step({"role": "assistant", "content": line}, [])
            return
        self.truncated = not turn.finished
        if self.truncated:
            self.lost = turn.parsed.faults
            return
        known = len(self.episode.messages)
        self.episode.step(turn.parsed.message, turn.parsed.faults)
        if not self.episode.over:
            self._read(chat.continuation(tokenizer, self.episode.messages[known + 1 :]), wrote=False)

    def _read(self, ids: list[int], wrote: bool) -> None:
        self.ids += ids
        self.mask += [wrote] * len(ids)


def play(
    model: K2Model,
    tokenizer: Tokenizer,
    problems: list[Problem],
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
    played = [[_start(problem, tokenizer, corpus_form) for _ in range(samples)] for problem in problems]
    rows = list(enumerate(one for group in played for one in group))
    for start in progress(range(0, len(rows), BATCH), description, -(-len(rows) // BATCH)):
        for turn in range(MOST_TURNS):
            running = [(row, one) for row, one in rows[start : start + BATCH] if _goes_on(model, one)]
            if not running:
                break
            how = {
                "budgets": [one.problem.budget for _, one in running],
                "seed": [(seed * 1_000_003 + row) * MOST_TURNS + turn for row, _ in running],
                "temperature": temperature,
            }
            if enforced:
                how["tools"] = [one.problem.tools or [] for _, one in running]
            turns = sample_turns(model, tokenizer, [one.ids for _, one in running], **how)
            for (_, one), said in zip(running, turns, strict=True):
                one.take(said, tokenizer)
    return played


def _start(problem: Problem, tokenizer: Tokenizer, corpus_form: bool) -> Played:
    corpus_form = corpus_form and problem.plain is not None
    asked = tokenizer.encode(problem.plain) if corpus_form else None
    ids = asked or chat.encode(tokenizer, problem.messages, problem.tools)[0]
    return Played(problem, problem.episode(), ids, [False] * len(ids), corpus_form)


def _goes_on(model: K2Model, one: Played) -> bool:
    """Whether another turn is to be sampled; a conversation that outgrows the model's positions is cut."""
    if one.truncated or one.episode.over:
        return False
    one.truncated = len(one.ids) + one.problem.budget > model.config.max_position_embeddings
    return not one.truncated


def success_rates(played: list[list[Played]]) -> list[float]:
    """[problem] share of its episodes that are solved."""
    return [sum(one.solved for one in group) / len(group) for group in played]
