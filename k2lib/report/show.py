"""Synthetic data shown in notebooks: rewrites side by side, a conversation, problems. Model text is always shown as text."""

import re

from k2lib.synth.rephrase import Rephrasing, differences

LONGEST = 1200  # characters of one passage


def side_by_side(source: str, rewrites: list[Rephrasing]) -> None:
    """Displays a table of the source, its rewrites and their verdicts."""
    rows = ["| style | text | verdict |", "|---|---|---|", f"| *source* | {inert(source)} | |"]
    for version in rewrites:
        marked = " ".join(
            f"**{inert(word)}**" if new else inert(word) for word, new in differences(source, version.text[:LONGEST])
        )
        verdict = "faithful" if version.verdict.faithful else "; ".join(map(inert, version.verdict.reasons))
        rows.append(f"| {version.style} ({inert(version.model)}) | {marked} | {verdict} |")
    _display("\n".join(rows))


def conversation(row: dict) -> None:
    """Displays a conversation as a table of who said what; the assistant's words, which are trained, in bold."""
    rows = ["| who | says |", "|---|---|"]
    for message in row["messages"]:
        calls = [f"{c['function']['name']}({c['function']['arguments']})" for c in message.get("tool_calls") or []]
        text = inert(" ".join([message.get("content") or "", *calls]).strip())
        rows.append(f"| {message['role']} | {f'**{text}**' if message['role'] == 'assistant' else text} |")
    tools = ", ".join(spec["function"]["name"] for spec in row["tools"])
    _display("\n".join([*rows, f"| *declared tools* | {inert(tools)} |"]))


def problems(found: list) -> None:
    """Displays the questions of verifiable problems."""
    rows = ["| kind | the user says | tools |", "|---|---|---|"]
    for problem in found:
        tools = ", ".join(spec["function"]["name"] for spec in problem.tools)
        rows.append(f"| {problem.kind} | {inert(problem.messages[-1]['content'])} | {inert(tools)} |")
    _display("\n".join(rows))


def _display(markdown: str) -> None:
    from IPython.display import Markdown, display

    display(Markdown(markdown))


def inert(text: str) -> str:
    """Text that Markdown and HTML show as it is: control characters dropped, markup escaped."""
    text = "".join(c for c in text[:LONGEST] if c.isprintable() or c == " ")
    text = text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return re.sub(r"([\\`*_{}\[\]|$#!])", r"\\\1", text)
