"""Notebook 06: tools, simulated conversations and their filter, and tool calls before and after fine-tuning (section 3.1)."""

from dataclasses import asdict

from k2lib import stages
from k2lib.agents import tasks, trajectories
from k2lib.agents.judge import judge
from k2lib.agents.tools import lint
from k2lib.evaluate import suite
from k2lib.llm import chat
from k2lib.profiles import Profile
from k2lib.progress import Progress
from k2lib.train import Checkpoint

REPLAYED = 300  # trajectories at most
SEARCHED = 60  # conversations, of which the longest is shown


def tools(profile: Profile, seed: int, _progress: Progress) -> dict[str, int]:
    """{what the evolution of tools makes: how many}; AssertionError if a specification is one that K2 cannot be served."""
    applications = tasks.applications(seed, **profile.agentic.pool)
    faults = [problem for application in applications for spec in application.specs for problem in lint(spec)]
    assert not faults, faults[0]
    return tasks.coverage(applications)


def conversations(profile: Profile, seed: int, progress: Progress) -> dict:
    """{"longest": a conversation with its tools, "tasks", "kept", "rejected": {reason: how many}}."""
    data = stages.sft_data(profile, seed, progress)
    talks = [row for row in data.rows if row["kind"] == "tool use"]
    return data.statistics | {"longest": max(talks[:SEARCHED], key=lambda row: len(row["messages"]))}


def anatomy(profile: Profile, seed: int, progress: Progress) -> list[dict]:
    """The shortest conversation with a call, as it is tokenized: [{"text", "control", "trained"}] in order."""
    data = stages.sft_data(profile, seed, progress)
    calling = [row for row in data.rows if any(message.get("tool_calls") for message in row["messages"])]
    shortest = min(calling, key=lambda row: len(str(row)))
    pieces = chat.segments(shortest["messages"], shortest["tools"], add_generation_prompt=False)
    return [asdict(piece) for piece in pieces]


def replayed(profile: Profile, seed: int, _progress: Progress) -> list[bool]:
    """Whether each kept trajectory, its calls made again in a fresh world without faults, reaches its goal."""
    size = profile.agentic
    kept, _ = trajectories.generate(min(size.tasks, REPLAYED), seed + 1, **size.pool)
    return [judge(t.task, t.messages, trajectories.replay(t)).passed for t in kept]


def losses(profile: Profile, seed: int, progress: Progress) -> list[list[float]]:
    """[run][step] of fine-tuning, on the assistant's tokens."""
    models = [stages.sft(profile, seed, run, progress) for run in range(profile.runs)]
    return [[record["loss"] for record in model.training["history"]] for model in models]


def played(profile: Profile, seed: int, progress: Progress) -> dict[str, list[dict]]:
    """{"base": [one], "fine-tuned": [run]} of {"done", "valid": [held-out task]}: whether it was done, share of valid calls."""
    heldout = stages.sft_data(profile, seed, progress).heldout
    models = {"base": [stages.base(profile, seed, progress)]}
    models["fine-tuned"] = [stages.sft(profile, seed, run, progress) for run in range(profile.runs)]

    def scores(checkpoint: Checkpoint) -> dict[str, tuple]:
        done, valid = suite.tool_use(checkpoint.model, checkpoint.tokenizer, heldout)
        return {"done": done.per_item, "valid": valid.per_item}

    return {
        age: [scores(one) for one in progress(found, f"play tasks, {age}", len(found))] for age, found in models.items()
    }
