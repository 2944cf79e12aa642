"""One part of a corpus, rewritten: a shard of what was accepted, one of what was not and why, and a record that ends the part.

The record is written last and renamed into place, so a part that has one is whole; it holds a hash of the part's passages and of
the settings, so a part is done anew exactly if one of them changed, or if a request failed for good the last time.
"""

import hashlib
import json
import os
import random
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from k2lib.llm import ChatModel
from k2lib.synth.fidelity import kind_of
from k2lib.synth.passages import Passage
from k2lib.synth.rephrase import Rephrasing, rephrase_all
from k2lib.synth.rephrase import styles as known_styles

NO_REPLY = "no reply"


@dataclass(frozen=True)
class Settings:
    styles: tuple[str, ...]
    rewrites: int  # of each passage, each in another style
    seed: int
    model: str

    def chosen(self, passage: Passage) -> list[str]:
        """The styles of a passage: drawn by its text, so that no order of reading changes them."""
        return random.Random(f"{self.seed}/{passage.sha256}").sample(self.styles, self.rewrites)


def settings(styles: Sequence[str], rewrites: int, seed: int, model: str) -> Settings:
    """ValueError for a style that there is not, or more rewrites than styles."""
    known = known_styles()
    unknown = [style for style in styles if style not in known]
    if unknown:
        raise ValueError(f"unknown style {unknown[0]!r}; data/prompts holds {', '.join(known)}")
    chosen = tuple(dict.fromkeys(styles)) or tuple(known)
    if not 1 <= rewrites <= len(chosen):
        raise ValueError(f"{rewrites} rewrites of a passage in {len(chosen)} styles; give 1 to {len(chosen)}")
    return Settings(chosen, rewrites, seed, model)


def key(part: Sequence[Passage], settings: Settings) -> str:
    told = json.dumps([asdict(settings), [(p.source, p.sha256) for p in part]], sort_keys=True)
    return hashlib.sha256(told.encode()).hexdigest()


def record(directory: Path, number: int) -> dict | None:
    """The record of a part that was finished, whatever its settings; None if there is none that can be read."""
    try:
        found = json.loads(_path(directory, "parts", number, "json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    whole = isinstance(found, dict) and isinstance(found.get("key"), str) and isinstance(found.get("counts"), dict)
    return found if whole else None


def done(directory: Path, number: int, part: Sequence[Passage], settings: Settings) -> Counter | None:
    """What a finished part counted, if nothing is to be done again."""
    found = record(directory, number)
    if found is None or found["key"] != key(part, settings) or found["counts"].get(NO_REPLY):
        return None
    shards = (_path(directory, kind, number, "jsonl") for kind in ("accepted", "rejected"))
    return Counter(found["counts"]) if all(path.exists() for path in shards) else None


async def write(
    directory: Path, number: int, part: Sequence[Passage], settings: Settings, model: ChatModel, concurrency: int
) -> Counter:
    """Rewrites a part and writes its shards. ChatError if all of its requests fail; nothing is written then."""
    wanted = [(passage.text, style) for passage in part for style in settings.chosen(passage)]
    rewrites = await rephrase_all(model, wanted, seed=settings.seed, concurrency=concurrency)
    sources = [passage.source for passage in part for _ in range(settings.rewrites)]
    rows = [row(source, one) for source, one in zip(sources, rewrites, strict=True)]
    _lines(_path(directory, "rejected", number, "jsonl"), [r for r in rows if "rewrite" in r])
    _lines(_path(directory, "accepted", number, "jsonl"), [r for r in rows if "text" in r])
    counts = Counter("accepted" if "text" in r else "rejected" for r in rows)
    counts.update(kind_of(reason) for r in rows for reason in r["reasons"])
    told = {"key": key(part, settings), "passages": len(part), "counts": dict(counts)}
    written(_path(directory, "parts", number, "json"), json.dumps(told, indent=1))
    return counts


def row(source: str, one: Rephrasing) -> dict:
    """A line of a shard. Only what was accepted has its words under "text", so that no reader trains on the rest."""
    told = {"text" if one.verdict.faithful else "rewrite": one.text, "source": source}
    told |= {name: getattr(one, name) for name in ("source_sha256", "style", "model", "seed")}
    return told | {"verdict": "faithful" if one.verdict.faithful else "rejected", "reasons": list(one.verdict.reasons)}


def forget(directory: Path, first: int) -> int:
    """Removes the parts from number `first` on, which an earlier and longer input left behind; how many there were."""
    numbers = [int(path.stem.removeprefix("part-")) for path in (directory / "parts").glob("part-*.json")]
    for number in (old := [n for n in numbers if n >= first]):
        for kind, suffix in (("parts", "json"), ("accepted", "jsonl"), ("rejected", "jsonl")):
            _path(directory, kind, number, suffix).unlink(missing_ok=True)
    return len(old)


def _path(directory: Path, kind: str, number: int, suffix: str) -> Path:
    return directory / kind / f"part-{number:06d}.{suffix}"


def _lines(path: Path, rows: list[dict]) -> None:
    written(path, "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))


def written(path: Path, text: str) -> None:
    """Writes a file as a whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(f".{os.getpid()}.partial")
    partial.write_text(text, encoding="utf-8", errors="replace")  # half a character in a reply is no text
    partial.replace(path)
