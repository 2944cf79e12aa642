"""The judge's second layer: a language model with the rubric reads what state and rubric alone cannot see (section 3.1).

That is above all what the assistant says at the end: a conversation may reach its goal, and tell the user something else. The
model sees neither who played whom nor the first layer's verdict, and what it reads is data to it, in JSON, whatever it says.
"""

import json
import re
from dataclasses import replace

from k2lib.agents.episode import Trajectory
from k2lib.agents.judge import Judgement
from k2lib.llm import arguments
from k2lib.llm.ask import ask
from k2lib.llm.protocol import ChatModel, Reply
from k2lib.places import DATA

PROMPT = DATA / "prompts" / "judge" / "trajectory.md"
MOST_REASONS = 8


async def criticised(model: ChatModel, trajectory: Trajectory, *, seed: int = 0) -> Judgement:
    """Both layers' verdict: what the first rejects costs no request. ChatError if the model gives no verdict twice."""
    if not trajectory.verdict.passed:
        return trajectory.verdict
    reasons = await criticise(model, trajectory.row(), seed=seed)
    return replace(trajectory.verdict, passed=not reasons, reasons=tuple(f"critic: {reason}" for reason in reasons))


async def criticise(model: ChatModel, row: dict, *, seed: int = 0) -> tuple[str, ...]:
    """Why the model rejects the conversation of a row (`Trajectory.row`); empty if it passes it."""
    told = {"rubric": row["rubric"], "state": row["state"], "conversation": _told(row["messages"])}
    request = PROMPT.read_text(encoding="utf-8").format(**{key: _quoted(value) for key, value in told.items()})
    return await ask(
        model, [{"role": "user", "content": request}], _verdict, temperature=0.0, max_tokens=400, seed=seed
    )


def _told(messages: list[dict]) -> list[dict]:
    """The conversation without ids and empty parts."""
    out = []
    for message in messages:
        said = {message["role"]: message["content"]} if message.get("content") else {}
        calls = [call["function"] for call in message.get("tool_calls") or []]
        out.append(said | ({"calls": calls} if calls else {}))
    return out


def _quoted(value: object) -> str:
    return json.dumps(value, ensure_ascii=False)


def _verdict(reply: Reply) -> tuple[str, ...]:
    """{"passed": true | false, "reasons": [text]}, anywhere in the reply. ValueError for anything else."""
    text = reply.message.get("content") or ""
    match = re.search(r"\{.*\}", text, re.DOTALL)
    found, why = arguments.read(match[0]) if match else (None, "no JSON object stands in it")
    if found is None:
        raise ValueError(why)
    passed, reasons = found.get("passed"), found.get("reasons", [])
    if type(passed) is not bool or not isinstance(reasons, list) or not all(isinstance(r, str) for r in reasons):
        raise ValueError('it is not of the form {"passed": true or false, "reasons": [texts]}')
    given = tuple(reason.strip()[:200] for reason in reasons if reason.strip())[:MOST_REASONS]
    if not passed and not given:
        raise ValueError("a conversation that fails needs a reason")
    return () if passed else given
