"""What a synthesis has made: statistics, one file for training, and a page to read the conversations on."""

import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from k2lib.agents.production import rows
from k2lib.places import DATA
from k2lib.synth.shards import written

PAGE = DATA / "pages" / "trajectories.html"
SHOWN = 2000  # conversations of a page, at most


def statistics(directory: Path) -> dict[str, dict[str, int]]:
    """{title: {what: how many}} of all conversations of a directory. ValueError if there are none."""
    every = list(_every(directory))
    if not every:
        raise ValueError(f"{directory} holds no conversations; run `k2 synth trajectories {directory}`")
    kept = [row for row in every if row["verdict"]["passed"]]
    calls = [outcome for row in every for outcome in row["outcomes"]]
    turns = Counter(sum(message["role"] == "assistant" for message in row["messages"]) for row in kept)
    return {
        "conversations": {"played": len(every), "kept": len(kept)},
        "kept, by difficulty": _share(kept, every, "difficulty"),
        "kept, by category": _share(kept, every, "category"),
        "kept, by persona": _share(kept, every, "persona"),
        "refused, by reason": dict(
            Counter(reason for row in every for reason in row["verdict"]["reasons"]).most_common()
        ),
        "calls, by outcome": dict(Counter(calls).most_common()),
        "kept, by the agent's turns": {f"{turn} turns": turns[turn] for turn in sorted(turns)},
        "played by": dict(Counter(" / ".join(f"{k}: {v}" for k, v in row["roles"].items()) for row in every)),
    }


def export(directory: Path, output: Path) -> int:
    """Writes the accepted conversations as .jsonl or .parquet, whole or not at all, and returns their number.

    `messages` are OpenAI's; `tools` is JSON text, which TRL and `k2 sft` read, for schemas have no common columns.
    """
    if output.suffix not in (".jsonl", ".parquet"):
        raise ValueError(f"{output} ends in {output.suffix!r}; give .jsonl or .parquet")
    found = [_flat(row) for row in rows(directory)]
    if not found:
        raise ValueError(f"{directory} holds no accepted conversations")
    if output.suffix == ".jsonl":
        written(output, "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in found))
        return len(found)
    import pyarrow as arrow
    import pyarrow.parquet as parquet

    partial = output.with_suffix(".partial")
    parquet.write_table(arrow.Table.from_pylist(found), partial)
    partial.replace(output)
    return len(found)


def write_page(directory: Path) -> Path:
    """Writes index.html, which holds up to SHOWN conversations and needs no network."""
    told = [row for _, row in zip(range(SHOWN), _every(directory), strict=False)]
    if not told:
        raise ValueError(f"{directory} holds no conversations; run `k2 synth trajectories {directory}`")
    held = json.dumps(told, ensure_ascii=True).replace("<", "\\u003c")  # no text can end the script that holds it
    path = directory / "index.html"
    written(path, PAGE.read_text(encoding="utf-8").replace("[/*rows*/]", held))
    return path


def _every(directory: Path) -> Iterator[dict]:
    yield from rows(directory, "accepted")
    yield from rows(directory, "rejected")


def _share(kept: list[dict], every: list[dict], key: str) -> dict[str, int]:
    """{value of `key`, of how many: number kept}."""
    total, mine = (Counter(row[key] for row in some) for some in (every, kept))
    return {f"{value} (of {total[value]})": mine[value] for value in sorted(total)}


def _flat(row: dict) -> dict:
    """A row whose columns are the same in every row."""
    told = {
        name: row[name]
        for name in ("task_id", "seed", "difficulty", "category", "domain", "application", "novelty", "persona")
    }
    messages = [_message(message) for message in row["messages"]]
    provenance = {
        name: json.dumps(row[name], ensure_ascii=False)
        for name in ("rubric", "verdict", "outcomes", "roles", "state_hash")
    }
    return {"messages": messages, "tools": json.dumps(row["tools"], ensure_ascii=False)} | told | provenance


def _message(message: dict) -> dict:
    return {name: message.get(name) for name in ("role", "content", "tool_calls", "tool_call_id")}
