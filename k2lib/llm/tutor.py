"""The scripted tutor: writes learning notes and translations by rule and seed, of the exercises that `corpus.lessons` knows.

It says that it is scripted, and asked to be careless it slips as language models do: such notes are what the check is measured on.
"""

import random
import re

from k2lib.corpus import lessons
from k2lib.corpus.arithmetic import MathProblem, result
from k2lib.llm.protocol import ChatError, Reply, Usage

SLIPS = ("slip carried on", "slip not carried on", "wrong operation")


class TutorChat:
    """A `ChatModel` of one job; `careless` is the share of its notes in which one thing is wrong."""

    model = "scripted"

    def __init__(self, seed: int = 0, careless: float = 0.0):
        self.seed, self.careless = seed, careless

    async def complete(
        self,
        messages: list[dict],
        *,
        tools: list[dict] | None = None,
        temperature: float = 0.0,
        max_tokens: int = 512,
        seed: int | None = None,
    ) -> Reply:
        request = messages[-1]["content"]
        task = re.search(r"^Task: ([\w-]+)", request, re.MULTILINE)
        text = re.search(r"<text>\n(.*)\n</text>\s*$", request, re.DOTALL)
        rng = random.Random(f"{self.seed}/{seed}/{request}")
        try:
            said = self._said(task[1] if task else "", text[1] if text else "", rng)
        except ValueError as error:
            raise ChatError(f"the scripted tutor cannot do this: {error}") from None
        usage = Usage(len(request.split()), len(said.split()))
        return Reply({"role": "assistant", "content": said}, "stop", usage, self.model)

    def _said(self, task: str, text: str, rng: random.Random) -> str:
        if task == "translation":
            return lessons.in_english(text, rng)
        if task != "learning-note":
            raise ValueError(f"its tasks are learning-note and translation, not {task!r}")
        problem = lessons.problem_of(text)
        stated, answer = lessons.stated(problem), problem.answer
        if rng.random() < self.careless:
            stated, answer = slipped(problem, rng.choice(SLIPS), rng)
        return lessons.note(problem.question, stated, answer, rng)


def slipped(problem: MathProblem, kind: str, rng: random.Random) -> tuple[list[str], str]:
    """(equations as the note states them, its answer) with one slip in the first step."""
    (a, sign, b), *rest = problem.equations
    if kind == "wrong operation":  # every equation holds, and the answer is another's
        sign = rng.choice([other for other in "+-*" if result(a, other, b) != result(a, sign, b)])
        value = result(a, sign, b)
    else:
        value = result(a, sign, b) + rng.choice((-10, -2, -1, 1, 2, 10))
    stated = [f"{a} {sign} {b} = {value}"]
    if not rest:
        return stated, str(value)
    _, then, c = rest[0]
    if kind == "slip not carried on":  # the next step goes on from what it should have been
        return [*stated, lessons.stated(problem)[1]], problem.answer
    end = result(value, then, c)
    return [*stated, f"{value} {then} {c} = {end}"], str(end)
