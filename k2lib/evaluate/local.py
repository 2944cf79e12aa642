"""What a small model can be asked: perplexity, knowledge, mathematics, tool use; each a score with its interval.

Base models are asked in the form of their corpus ("Question: … Answer:"), chat models in chat form, as the paper evaluates
base and instruct models differently. Answers are greedy.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import torch

from k2lib.agents import trajectories
from k2lib.agents.tasks import Task
from k2lib.corpus import arithmetic
from k2lib.corpus.arithmetic import MathProblem
from k2lib.corpus.tokenizer import Tokenizer
from k2lib.corpus.world import QA, question_text
from k2lib.evaluate.metrics import wilson
from k2lib.llm import chat
from k2lib.model import K2Model
from k2lib.model.generate import sample

BATCH = 64


@dataclass(frozen=True)
class Score:
    name: str
    value: float
    low: float
    high: float
    n: int
    per_item: tuple[float, ...] = ()


@torch.no_grad()
def perplexity(model: K2Model, tokens: torch.Tensor, window: int) -> Score:
    """exp of the mean loss over consecutive windows of `tokens` [N]; the interval is over windows."""
    count, tokens = (len(tokens) - 1) // window, tokens.to(model.embed_tokens.weight.device)
    if count < 1:
        raise ValueError(f"{len(tokens)} tokens are fewer than one window of {window} and its target")
    rows = tokens[: count * window + 1].unfold(0, window + 1, window)
    losses = torch.cat([-model.token_logprobs(rows[i : i + 8]).mean(1) for i in range(0, count, 8)]).double()
    mean, error = losses.mean(), losses.std() / count**0.5 if count > 1 else torch.tensor(0.0)
    low, middle, high = ((mean + sign * 1.96 * error).exp().item() for sign in (-1, 0, 1))
    return Score("perplexity", middle, low, high, count, tuple(losses.tolist()))


def knowledge(model: K2Model, tokenizer: Tokenizer, questions: list[QA], chat_form: bool, progress=None) -> Score:
    """Share of questions whose answer begins with the right value, case aside."""
    prompts = [_ask(tokenizer, qa.question, chat_form) for qa in questions]
    answers = _answer(model, tokenizer, prompts, 16, progress, "knowledge")
    right = [
        float(answer.strip().lower().startswith(qa.answer.lower()))
        for answer, qa in zip(answers, questions, strict=True)
    ]
    return share("knowledge", right)


def mathematics(
    model: K2Model, tokenizer: Tokenizer, problems: list[MathProblem], chat_form: bool, progress=None
) -> Score:
    """Share of problems whose last number is right."""
    prompts = [
        chat.encode(tokenizer, [{"role": "user", "content": p.question}])[0]
        if chat_form
        else tokenizer.encode(f"Problem: {p.question}\nSolution:")
        for p in problems
    ]
    answers = _answer(model, tokenizer, prompts, 40, progress, "mathematics")
    answers = [answer if chat_form else answer.split("\n")[0] for answer in answers]
    return share("mathematics", [float(arithmetic.check(a, p)) for a, p in zip(answers, problems, strict=True)])


def tool_use(model: K2Model, tokenizer: Tokenizer, tasks: list[Task], max_turns: int) -> tuple[Score, Score]:
    """(share of whole tasks done, share of written calls that are valid), from full simulated conversations."""
    played = trajectories.run(tasks, agent(model, tokenizer), max_turns=max_turns)
    valid, written = trajectories.validity(played)
    done = share("tool use", [float(t.verdict.passed) for t in played])
    return done, Score("valid calls", valid / max(1, written), *wilson(valid, written), written)


def agent(model: K2Model, tokenizer: Tokenizer, max_new_tokens: int = 64) -> trajectories.Step:
    """The model as the agent of `trajectories.run`: one greedy turn in every running conversation.

    Calls that cannot be parsed are passed on as text, so that the judge sees that nothing was done.
    """
    stop = (tokenizer.encode_control(chat.END), tokenizer.eos_id)

    def step(episodes: list[trajectories.Episode]) -> list[dict]:
        replies: list[dict] = []
        for start in range(0, len(episodes), BATCH):
            prompts = [chat.encode(tokenizer, e.messages, e.tools)[0] for e in episodes[start : start + BATCH]]
            done = sample(model, prompts, max_new_tokens=max_new_tokens, stop_tokens=stop)
            replies += [chat.parse_ids(c.tokens, tokenizer).message for c in done]
        return replies

    return step


def share(name: str, outcomes: list[float]) -> Score:
    """A share of right answers with Wilson's interval."""
    total = sum(outcomes)
    return Score(name, total / max(1, len(outcomes)), *wilson(total, len(outcomes)), len(outcomes), tuple(outcomes))


def _ask(tokenizer: Tokenizer, question: str, chat_form: bool) -> list[int]:
    if chat_form:
        return chat.encode(tokenizer, [{"role": "user", "content": question}])[0]
    return tokenizer.encode(question_text(question))


def _answer(
    model: K2Model,
    tokenizer: Tokenizer,
    prompts: list[list[int]],
    room: int,
    progress: Callable[[Iterable, str, int], Iterable] | None,
    name: str,
) -> list[str]:
    stop = (tokenizer.encode_control(chat.END), tokenizer.eos_id)
    starts = range(0, len(prompts), BATCH)
    texts: list[str] = []
    for start in progress(starts, name, len(starts)) if progress else starts:
        done = sample(model, prompts[start : start + BATCH], max_new_tokens=room, stop_tokens=stop)
        texts += [tokenizer.decode(completion.tokens, control=False) for completion in done]
    return texts
