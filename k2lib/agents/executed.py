"""Tasks on real tools: five public servers and a Python interpreter, all in the sandbox, really executed (section 3.1).

Whether a task was done is found out by asking the server afterwards, or by what the user must be told. The agent is any chat model;
the scripted one here matches sentences to declared tools, and sees neither preparation nor check.
"""

import json
import re
from collections.abc import Awaitable, Callable

from k2lib.agents.episode import normalise
from k2lib.agents.forms import FORMS, Form, Wish, filled
from k2lib.agents.rubric import names
from k2lib.agents.simulator import ToolResult
from k2lib.agents.tools import check_call, tool
from k2lib.llm.protocol import ChatModel, Reply, Usage
from k2lib.sandbox import Limits
from k2lib.sandbox import run as execute

RUN_PYTHON = tool("run_python", "Run a Python program and return what it prints.", {"code": {"type": "string"}})
LIMITS = Limits(cpu_seconds=5, wall_seconds=20)
MOST_TURNS, SPARE = 6, 3
Caller = Callable[[str, str], Awaitable[ToolResult]]  # a tool and its arguments as text


async def play(wish: Wish, agent: ChatModel, call: Caller, specs: list[dict]) -> dict:
    """The row of one conversation, as `Trajectory.row` has it. ChatError if the agent cannot be reached.

    `call` executes a call of the server whose tools `specs` are; RuntimeError if it cannot be prepared.
    """
    form = wish.form
    for name, arguments in form.before:
        prepared = await call(name, json.dumps(filled(arguments, wish.slots)))
        if not prepared.ok:
            raise RuntimeError(f"the server {form.server} could not be prepared by {name}: {prepared.content[:200]}")
    offered = [spec for spec in specs if spec["function"]["name"] in (form.tool, *form.offered)]
    messages = [
        {"role": "system", "content": f"You are the assistant of {form.server}."},
        {"role": "user", "content": wish.instruction},
    ]
    tried: list[tuple[str, bool]] = []
    for _ in range(MOST_TURNS):
        said = normalise((await agent.complete(list(messages), tools=offered, seed=wish.seed)).message)
        calls = [
            c | {"id": f"functions.{c['function']['name']}:{len(tried) + i}"}
            for i, c in enumerate(said.get("tool_calls") or [])
        ]
        messages.append(said | ({"tool_calls": calls} if calls else {}))
        for made in calls:
            result = await _executed(call, made["function"], offered)
            messages.append({"role": "tool", "tool_call_id": made["id"], "content": result.content})
            tried.append((made["function"]["name"], result.ok))
        if not calls:
            break
    reasons = await _judged(wish, messages, tried, call)
    return _row(wish, messages, offered, tried, reasons, agent.model)


async def _executed(call: Caller, function: dict, offered: list[dict]) -> ToolResult:
    values, reason = check_call(function["name"], function["arguments"], offered)
    return (
        ToolResult(f"error: {reason}", False) if values is None else await call(function["name"], function["arguments"])
    )


async def _judged(wish: Wish, messages: list[dict], tried: list[tuple[str, bool]], call: Caller) -> list[str]:
    reasons, form = [], wish.form
    if (form.tool, True) not in tried:
        reasons.append("an expected tool was not used with success")
    if form.after is not None:
        name, arguments, wanted = form.after
        there = await call(name, json.dumps(filled(arguments, wish.slots)))
        if not names(there.content, wanted.format(**wish.slots)):
            reasons.append("the final state is not the wanted one")
    if messages[-1]["role"] != "assistant" or messages[-1].get("tool_calls"):
        reasons.append("the conversation did not end with a message to the user")
    elif wish.report is not None and not names(messages[-1]["content"], wish.report):
        reasons.append("the answer was not reported")
    if len(tried) > 1 + SPARE:
        reasons.append("far more calls than needed")
    return reasons


def _row(wish: Wish, messages: list[dict], tools: list[dict], tried: list, reasons: list[str], agent: str) -> dict:
    form = wish.form
    checked = [f"{form.after[0]} shows {form.after[2].format(**wish.slots)}"] if form.after else []
    expected = {
        "expected_tools": [form.tool],
        "report": wish.report,
        "must_ask": None,
        "refused": False,
        "state": checked,
    }
    expected["checkpoints"] = [f"calls {form.tool}", *checked, *([f"reports {wish.report}"] if wish.report else [])]
    return {
        "task_id": wish.id, "messages": messages, "tools": tools, "seed": wish.seed, "difficulty": "executed", "category": "executed",
        "domain": form.server, "application": form.server, "novelty": "seen", "persona": "plain", "rubric": expected,
        "verdict": {"passed": not reasons, "reasons": reasons, "checkpoints": [not reasons] * len(expected["checkpoints"])},
        "outcomes": ["success" if ok else "refused" for _, ok in tried], "state": checked if not reasons else [], "state_hash": {},
        "roles": {"agent": agent, "user": "scripted user", "tools": f"executed: {form.server}", "judge": "the server and rubric"},
    }  # fmt: skip


async def run_python(name: str, arguments: str) -> ToolResult:
    """The interpreter as a `Caller`: a program run in the sandbox; ToolResult of what it printed."""
    values, reason = check_call(name, arguments, [RUN_PYTHON])
    if values is None:
        return ToolResult(f"error: {reason}", False)
    ended = execute(values["code"], limits=LIMITS)
    text = ended.stdout if ended.status == "ok" else f"error: {ended.status}: {ended.stderr[-200:]}"
    return ToolResult(text.strip()[:1000], ended.status == "ok")


class ScriptedToolAgent:
    """A `ChatModel` that knows the forms' sentences, and calls the declared tool that one asks for."""

    model = "scripted agent"

    async def complete(self, messages: list[dict], *, tools: list[dict] | None = None, **_settings) -> Reply:
        said = next(m["content"] for m in messages if m["role"] == "user")
        declared = {spec["function"]["name"] for spec in tools or []}
        for form in (form for form in FORMS if form.tool in declared):
            if (slots := _read(form.sentence, said)) is not None:
                return Reply(_next(form, slots, messages), "stop", Usage(), self.model)
        return Reply(
            {"role": "assistant", "content": "I am afraid that I cannot do that."}, "stop", Usage(), self.model
        )


def _next(form: Form, slots: dict[str, str], messages: list[dict]) -> dict:
    results = [m["content"] for m in messages if m["role"] == "tool"]
    if not results:
        function = {"name": form.tool, "arguments": json.dumps(filled(form.arguments, slots))}
        return {
            "role": "assistant",
            "content": "",
            "tool_calls": [{"id": "", "type": "function", "function": function}],
        }
    found = re.search(form.found, results[-1]) if form.found else None
    return {"role": "assistant", "content": f"It is {found[1].strip()}." if found else "Done."}


def _read(sentence: str, said: str) -> dict[str, str] | None:
    found = re.fullmatch(re.sub(r"\\\{(\w+)\\\}", r"(?P<\1>.+?)", re.escape(sentence)), said.strip())
    return found.groupdict() if found else None
