"""The conversations of fine-tuning: filtered tool-use trajectories, worked mathematics, short answers (section 3.1)."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path

from k2lib.agents import tasks, trajectories
from k2lib.corpus import arithmetic
from k2lib.corpus.world import World
from k2lib.profiles import Profile
from k2lib.progress import Progress, silent
from k2lib.stages.corpus import corpus
from k2lib.stages.stage import stage

TALKATIVE = 4  # of five mathematics answers: imitation learns both manners, RL may choose


@dataclass(frozen=True)
class SFTData:
    rows: list[dict]  # {"messages", "tools", "kind"}
    heldout: list  # tasks that no row shares
    statistics: dict  # what the filter accepted and why it rejected
    dir: Path


def sft_data(profile: Profile, seed: int = 0, progress: Progress = silent) -> SFTData:
    """The rows of a profile and seed, and the tasks held out from them."""
    data, size = corpus(profile, seed, progress), profile.agentic

    def make(directory: Path) -> None:
        settings = {"max_turns": size.max_turns, "per_domain": size.per_domain, "progress": progress}
        kept, statistics = trajectories.generate(size.tasks, seed, **settings)
        rows = [t.row() | {"kind": "tool use"} for t in kept]
        rows += _mathematics(len(kept), seed, profile.corpus.largest_number)
        rows += _knowledge(data.world)[: len(kept) // 2]
        (directory / "rows.jsonl").write_text("".join(json.dumps(r) + "\n" for r in rows), encoding="utf-8")
        (directory / "statistics.json").write_text(json.dumps(statistics), encoding="utf-8")

    path = stage("sft-data", profile, {"size": asdict(size), "seed": seed, "corpus": data.dir.name}, make)
    rows = [json.loads(line) for line in (path / "rows.jsonl").read_text(encoding="utf-8").splitlines()]
    heldout = tasks.generate(size.heldout_tasks, seed, split="heldout", per_domain=size.per_domain)
    return SFTData(rows, heldout, json.loads((path / "statistics.json").read_text(encoding="utf-8")), path)


def _mathematics(count: int, seed: int, largest: int) -> list[dict]:
    problems = enumerate(arithmetic.problems(count, seed, "train", largest))
    return [
        {"kind": "mathematics", "messages": arithmetic.conversation(p, talkative=i % 5 < TALKATIVE), "tools": []}
        for i, p in problems
    ]


def _knowledge(world: World) -> list[dict]:
    """A short answer to every question about the people of the training side."""
    asked, _ = world.split()
    return [
        {
            "kind": "knowledge",
            "tools": [],
            "messages": [{"role": "user", "content": qa.question}, {"role": "assistant", "content": qa.answer}],
        }
        for person in asked
        for qa in world.questions(person)
    ]
