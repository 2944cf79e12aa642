"""The conversations of fine-tuning: demonstrations of tool use that the judge passed, mathematics, short answers (section 3.1)."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path

from k2lib.agents import tasks, trajectories
from k2lib.corpus import arithmetic
from k2lib.corpus.world import World
from k2lib.gym.knowledge import Knowledge
from k2lib.gym.mathematics import Mathematics
from k2lib.gym.problem import Problem
from k2lib.gym.tool_use import ToolUse
from k2lib.profiles import Profile
from k2lib.progress import Progress, silent
from k2lib.stages.corpus import corpus
from k2lib.stages.stage import stage

FILES = {"rows.jsonl": True, "rejected.jsonl": False}  # whether the judge passed what is in it


@dataclass(frozen=True)
class SFTData:
    rows: list[dict]  # {"messages", "tools", "kind"}
    rejected: list[dict]  # conversations that the judge did not pass
    heldout: list[ToolUse]  # problems that no row shares
    statistics: dict  # what the filter accepted and why it rejected
    dir: Path


def sft_data(profile: Profile, seed: int = 0, progress: Progress = silent) -> SFTData:
    """The rows of a profile and seed, and the tool-use problems held out from them."""
    data, size = corpus(profile, seed, progress), profile.agentic

    def make(directory: Path) -> None:
        wishes = tasks.generate(size.tasks, seed, **size.pool)
        played = [ToolUse(task).demonstration() for task in progress(wishes, "simulate conversations", len(wishes))]
        count = sum(row["verdict"]["passed"] for row in played)
        others = _mathematics(count, seed, profile.corpus.largest_number) + _knowledge(data.world)[: count // 2]
        every = played + [problem.demonstration() for problem in others]
        for name, passed in FILES.items():
            lines = (json.dumps(row) + "\n" for row in every if row["verdict"]["passed"] == passed)
            (directory / name).write_text("".join(lines), encoding="utf-8")
        statistics = trajectories.statistics(played)
        (directory / "statistics.json").write_text(json.dumps(statistics), encoding="utf-8")

    path = stage("sft-data", {"size": asdict(size), "seed": seed, "corpus": data.dir.name}, make)
    texts = [(path / name).read_text(encoding="utf-8") for name in FILES]
    rows, rejected = ([json.loads(line) for line in text.splitlines()] for text in texts)
    heldout = tasks.generate(size.heldout_tasks, seed, profile.judged_on, **size.pool)
    statistics = json.loads((path / "statistics.json").read_text(encoding="utf-8"))
    return SFTData(rows, rejected, [ToolUse(task) for task in heldout], statistics, path)


def _mathematics(count: int, seed: int, largest: int) -> list[Problem]:
    return list(map(Mathematics, arithmetic.problems(count, seed, "train", largest)))


def _knowledge(world: World) -> list[Problem]:
    """Every question about the people of the training side."""
    return [Knowledge(qa) for person in world.of("train") for qa in world.questions(person)]
