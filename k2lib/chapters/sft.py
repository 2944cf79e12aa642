"""Notebook 06: tools, simulated conversations and their filter, and tool calls before and after fine-tuning (section 3.1)."""

import importlib.util
import itertools
import random
from collections.abc import Iterable
from dataclasses import asdict

from k2lib import stages
from k2lib.agents import atlas, forms, production, tasks, trajectories
from k2lib.agents.evolution import distinct
from k2lib.agents.executed import ScriptedToolAgent
from k2lib.agents.judge import judge
from k2lib.agents.servers import PACKAGES, have
from k2lib.agents.tools import lint
from k2lib.agents.trials import trials
from k2lib.evaluate import berkeley, suite
from k2lib.gym.play import play
from k2lib.llm import chat, get
from k2lib.profiles import Profile
from k2lib.progress import Progress
from k2lib.sandbox import unavailable
from k2lib.synth import rephrase
from k2lib.train import Checkpoint

REPLAYED = 300  # trajectories at most
TRIED, EACH = 2500, 30  # tasks of which trials of the judge are made, and bad ones of each kind
EXECUTED = 12  # tasks on each real server
NEW = {
    "seen": "nothing: tools of training",
    "tools": "names of the tools",
    "application": "the application",
    "domain": "the whole category",
}  # what no training task had, by the task's novelty
SEARCHED = 60  # conversations, of which the longest is shown


def tools(profile: Profile, seed: int, _progress: Progress) -> dict[str, int]:
    """{what the evolution of tools makes: how many}, and "real", the leaderboard's where they have been fetched.

    AssertionError if a specification is one that K2 cannot be served.
    """
    applications = tasks.applications(seed, **profile.agentic.pool)
    faults = [problem for application in applications for spec in application.specs for problem in lint(spec)]
    assert not faults, faults[0]
    specs, _ = distinct(spec for application in applications for spec in application.specs)
    return tasks.coverage(applications) | {"distinct by their words": len(specs), "real": len(atlas.real())}


def coverage(_profile: Profile, seed: int, _progress: Progress) -> dict[str, list[list[float]]]:
    """{category, or "real": places [x, y] on the map}; the real ones are the leaderboard's, where they have been fetched."""
    groups = atlas.synthetic()
    found = atlas.real()
    groups |= {"real": random.Random(seed).sample(found, min(atlas.REAL, len(found)))} if found else {}
    places = iter(atlas.placed([spec for specs in groups.values() for spec in specs], seed))
    return {name: [[round(value, 2) for value in next(places)] for _ in specs] for name, specs in groups.items()}


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


def judged(profile: Profile, seed: int, _progress: Progress) -> dict:
    """{"bad": {kind: [made, passed]}, "good": {manner: [made, passed]}} of conversations that are known to be so."""
    wishes = tasks.generate(TRIED, seed + 2, profile.judged_on)
    counts: dict[str, dict] = {"bad": {}, "good": {}}
    for trial in trials(wishes, EACH, seed):
        made = counts["good" if trial.good else "bad"].setdefault(trial.kind, [0, 0])
        made[0] += 1
        made[1] += trial.trajectory.verdict.passed
    return counts


def executed(_profile: Profile, seed: int, _progress: Progress) -> dict:
    """{"played": {server: [tasks, done]}, "shown": one conversation or None}: real tools that are here, executed in the sandbox."""
    if unavailable() is not None:
        return {"played": {}, "shown": None}
    servers = [name for name in PACKAGES if have(name)] + [forms.PYTHON]
    agent = ScriptedToolAgent()
    rows = {
        name: rephrase.run(production.on_server(name, forms.wishes(name, EXECUTED, seed), agent)) for name in servers
    }
    done = {name: [len(some), sum(row["verdict"]["passed"] for row in some)] for name, some in rows.items()}
    return {"played": done, "shown": rows[servers[0]][0]}


def losses(profile: Profile, seed: int, progress: Progress) -> list[list[float]]:
    """[run][step] of fine-tuning, on the assistant's tokens."""
    models = [stages.sft(profile, seed, run, progress) for run in range(profile.runs)]
    return [[record["loss"] for record in model.training["history"]] for model in models]


def played(profile: Profile, seed: int, progress: Progress) -> dict[str, list[dict]]:
    """{"base": [one], "fine-tuned": [run], "fine-tuned, enforced": [run]} of {"done", "valid": [held-out task], "calls": [call]}.

    Whether a task was done, the share of its calls that are valid, and whether each call of a turn that ended is.
    """
    heldout = stages.sft_data(profile, seed, progress).heldout

    def scores(checkpoint: Checkpoint, held: bool) -> dict[str, tuple]:
        talks = [group[0] for group in play(checkpoint.model, checkpoint.tokenizer, heldout, enforced=held)]
        done, valid = suite.of_conversations(talks)
        calls = [ok for one in talks for ok in trajectories.attempts(one.episode.trajectory())]
        return {"done": done.per_item, "valid": valid.per_item, "calls": calls}

    return {
        age: [scores(one, held) for one in progress(found, f"play tasks, {age}", len(found))]
        for age, (found, held) in _ages(profile, seed, progress).items()
    }


def leaderboard(profile: Profile, seed: int, progress: Progress) -> dict[str, dict[str, list]] | None:
    """{"base" | "fine-tuned" | "fine-tuned, enforced": {category: [run][question]}} of the Berkeley leaderboard; None without its data.

    One right call is asked for in `simple_python`, none in `irrelevance`.
    """
    if not get.have("bfcl"):
        return None
    number = profile.agentic.heldout_tasks
    return {
        age: {
            category: [
                berkeley.of_checkpoint(one.model, one.tokenizer, category, number, enforced=held)
                for one in progress(found, f"ask the leaderboard's {category}, {age}", len(found))
            ]
            for category in berkeley.CATEGORIES
        }
        for age, (found, held) in _ages(profile, seed, progress).items()
    }


def _ages(profile: Profile, seed: int, progress: Progress) -> dict[str, tuple[list[Checkpoint], bool]]:
    """{age: its models, and whether their calls are enforced}, the last only where that can be done."""
    base = [stages.base(profile, seed, progress)]
    tuned = [stages.sft(profile, seed, run, progress) for run in range(profile.runs)]
    enforced = {"fine-tuned, enforced": (tuned, True)} if importlib.util.find_spec("llguidance") else {}
    return {"base": (base, False), "fine-tuned": (tuned, False)} | enforced


def arms(profile: Profile, seed: int, progress: Progress) -> dict[str, list[dict]] | None:
    """{"base": [one], arm: [run]} of what `k2lib.stages.arms` finds; None where the profile has no size for them."""
    if profile.arms is None:
        return None
    runs = range(profile.arms.seeds)
    found = {name: [stages.arm(profile, name, seed, run, progress) for run in runs] for name in stages.ARMS}
    return {"base": [stages.untouched(profile, seed, progress)]} | found


def together(arms: dict[str, list[dict]]) -> list[float]:
    """For each run: the mean of the shares of simulated and of real tasks done, both kinds trained, less the better of one kind."""
    simulated, executed, both = (
        map(_both_shares, arms[name]) for name in ("kept", "executed", "simulated and executed")
    )
    return [mixed - max(alone) for mixed, *alone in zip(both, simulated, executed, strict=True)]


def _both_shares(run: dict) -> float:
    return sum(sum(run[kind]) / len(run[kind]) for kind in ("done", "executed")) / 2


def passed(counts: dict[str, list[int]]) -> dict[str, list[int]]:
    """{kind: an outcome, 1 or 0, for each that was made} of {kind: [made, passed]}."""
    return {kind: [1] * right + [0] * (made - right) for kind, (made, right) in counts.items()}


def flat(groups: Iterable[list]) -> list:
    """All groups as one list."""
    return list(itertools.chain.from_iterable(groups))


def of_kinds(wanted: list[str], kinds: list[str], runs: list[dict], which: str) -> list[list[float]]:
    """[run][task] of the outcomes `which` of those tasks whose kind is wanted."""
    return [[value for value, own in zip(run[which], kinds, strict=True) if own in wanted] for run in runs]


def gained(arms: dict[str, list[dict]], before: str, after: str, which: str) -> list[list[float]]:
    """[run][task]: what the tasks of one arm have of an outcome more than those of another, in the same run."""
    pairs = zip(arms[before], arms[after], strict=True)
    return [suite.gains(less[which], more[which]) for less, more in pairs]


def novelties(profile: Profile, seed: int, progress: Progress) -> list[str]:
    """What of each held-out task's tools was new, in the order of `played`."""
    return [problem.task.novelty for problem in stages.sft_data(profile, seed, progress).heldout]
