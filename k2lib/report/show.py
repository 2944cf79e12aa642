"""What notebooks show beside figures: the run behind a page, rewrites, a conversation, problems. Model text is shown as text."""

import inspect
import re
import textwrap
from collections.abc import Callable

from k2lib.report.ledger import Ledger
from k2lib.report.results import where
from k2lib.synth.rephrase import differences

LONGEST, SAID = 1200, 240  # characters of one passage, of one answer


def origin(ledger: Ledger) -> None:
    """Displays which run a page is drawn from."""
    _display(
        f"**Drawn from a committed run**: profile `{ledger.profile}` on {where(ledger)}. "
        "Nothing is trained here; with another `profile` the page measures anew."
    )


def code(function: Callable) -> None:
    """Displays the source of a Python function."""
    _display(f"```python\n{textwrap.dedent(inspect.getsource(function)).strip()}\n```")


def side_by_side(source: str, rewrites: list[dict]) -> None:
    """Displays a table of the source, its rewrites {"style", "model", "text", "reasons"} and their verdicts."""
    rows = ["| style | text | verdict |", "|---|---|---|", f"| *source* | {inert(source)} | |"]
    for version in rewrites:
        marked = " ".join(
            f"**{inert(word)}**" if new else inert(word) for word, new in differences(source, version["text"][:LONGEST])
        )
        verdict = "; ".join(map(inert, version["reasons"])) or "faithful"
        rows.append(f"| {version['style']} ({inert(version['model'])}) | {marked} | {verdict} |")
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


def answers(found: list[dict], ages: list[str]) -> None:
    """Displays what several models answered: {"asks", model: text}, one below the other."""
    rows = ["| asked | age | all that it wrote |", "|---|---|---|"]
    for one in found:
        for age in ages:
            asked = f"*{inert(_in_one_line(one['asks']))}*" if age == ages[0] else ""
            wrote = _in_one_line(one[age][:SAID]).replace("<|", " <|")  # so that a long call can be broken
            rows.append(f"| {asked} | {age} | {inert(wrote).strip()} |")
    _display("\n".join(rows))


def tokens(pieces: list[dict]) -> None:
    """Displays a conversation as it is tokenized: control tokens as code, what is trained in bold."""
    words = []
    for piece in pieces:
        text = f"`{piece['text']}`" if piece["control"] else inert(piece["text"]).strip()
        words.append(f"**{text}**" if piece["trained"] and text else text)
        words += ["<br>"] if piece["text"] == "<|im_end|>" else []
    _display(" ".join(words))


def samples(found: dict) -> None:
    """Displays the sampled answers to one problem {"asks", "answers", "rewards", "target"} with their rewards."""
    rows = [f"*{inert(found['asks'])}*\n", "| answer | reward | log-ratio asked for |", "|---|--:|--:|"]
    for answer, reward, target in zip(found["answers"], found["rewards"], found["target"], strict=True):
        rows.append(f"| {inert(answer)} | {reward:g} | {target:+.2f} |")
    _display("\n".join(rows))


def problems(found: list[dict]) -> None:
    """Displays the questions of verifiable problems {"kind", "asks", "tools"}."""
    rows = ["| kind | the user says | tools |", "|---|---|---|"]
    for problem in found:
        rows.append(f"| {problem['kind']} | {inert(problem['asks'])} | {inert(', '.join(problem['tools']))} |")
    _display("\n".join(rows))


def _in_one_line(text: str) -> str:
    return text.replace("\n", " ↵ ")


def _display(markdown: str) -> None:
    from IPython.display import Markdown, display

    display(Markdown(markdown))


def inert(text: str) -> str:
    """Text that Markdown and HTML show as it is: control characters dropped, markup escaped."""
    text = "".join(c for c in text[:LONGEST] if c.isprintable() or c == " ")
    text = text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return re.sub(r"([\\`*_{}\[\]|$#!])", r"\\\1", text)
