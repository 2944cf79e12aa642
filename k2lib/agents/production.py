"""The three steps of synthesis in a directory (section 3.1): tools, then tasks, then trajectories; each seeded and whole or not there.

`tools.jsonl` holds applications, `tasks.jsonl` tasks with rubrics, `accepted/` and `rejected/` the conversations, part by part; those on
real tools lie beside them. A part's record is written last; a run that was killed goes on after it, and one with other settings
is refused.
"""

import asyncio
import hashlib
import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from k2lib.agents import evolution, executed, forms, records, repository, tasks
from k2lib.agents.critic import criticised
from k2lib.agents.episode import Trajectory
from k2lib.agents.expert import ScriptedAgent
from k2lib.agents.servers import known
from k2lib.agents.session import opened
from k2lib.agents.tasks import Task
from k2lib.agents.trajectories import FAULT_RATE, MOST_TURNS, run_task
from k2lib.agents.users import User, played_by, scripted
from k2lib.llm.protocol import ChatError, ChatModel
from k2lib.progress import Progress, silent
from k2lib.sandbox import SandboxError, unavailable
from k2lib.serving.open import Spoken, open_model
from k2lib.synth.shards import written

PART = 50  # tasks
REPOSITORY = "repository"  # a program to repair, beside the servers
KINDS = ("accepted", "rejected")
SCRIPTED, RULES = Spoken("scripted"), Spoken("rules")


@dataclass(frozen=True)
class Roles:
    """Who plays: "scripted", or a model; the judge "rules", or a model that reads what state and rubric have passed."""

    agent: Spoken = SCRIPTED
    user: Spoken = SCRIPTED
    judge: Spoken = RULES
    fault_rate: float = FAULT_RATE
    temperature: float = 0.0  # of the agent
    concurrency: int = 8

    def plain(self) -> dict:
        """What the conversations depend on."""
        told = {name: getattr(self, name).name for name in ("agent", "user", "judge")}
        return told | {"fault_rate": self.fault_rate, "temperature": self.temperature}


def make_tools(
    directory: Path,
    seed: int,
    *,
    per_domain: int,
    categories: int,
    children: int = 0,
    split: str = "train",
    propose: int = 0,
    model: Spoken | None = None,
) -> dict:
    """Writes tools.jsonl: a line for each application. `propose` new ones of every category come from the model.

    Returns counts. ChatError if the model writes no application in all its tries.
    """
    known = tasks.grounds(split, "seen", categories)
    rows = asyncio.run(_proposals(known, propose, model, seed)) if propose else []
    more = tuple(
        domain for name, domain in records.known_domains(rows).items() if name in {row["name"] for row in rows}
    )
    made = tasks.applications(seed, per_domain, split, "seen", categories, children, more)
    specs, doubles = evolution.distinct(spec for application in made for spec in application.specs)
    lines = [{"kind": "proposal"} | row for row in rows]
    lines += [{"kind": "application"} | records.application_row(app) | {"specs": app.specs} for app in made]
    written(directory / "tools.jsonl", _jsonl(lines))
    return tasks.coverage(made) | {
        "distinct by their words": len(specs),
        "near duplicates": doubles,
        "proposed": len(rows),
    }


async def _proposals(known: list, number: int, model: Spoken | None, seed: int) -> list[dict]:
    if model is None:
        raise ValueError("new applications are proposed by a model; name one with --model")
    chat, names, rows = open_model(model, seed), [domain.name for domain in known], []
    for category in dict.fromkeys(domain.category for domain in known):
        for i in range(number):
            try:
                proposal = await evolution.propose(chat, category, names, seed=seed + i)
            except ChatError:
                continue
            names.append(proposal.plan.name)
            rows.append(records.proposal_row(proposal, chat.model))
    if not rows:
        raise ChatError(f"{chat.model} proposed no application that can be used; try a larger model")
    return rows


def make_tasks(directory: Path, number: int, seed: int, split: str = "train") -> dict:
    """Writes tasks.jsonl for the applications of tools.jsonl, and returns how many there are of each difficulty."""
    rows = records.read_rows(directory / "tools.jsonl")
    known = records.known_domains(row for row in rows if row["kind"] == "proposal")
    applications = [records.application_of(row, known) for row in rows if row["kind"] == "application"]
    made = tasks.drawn(number, seed, split, {"seen": applications})
    written(directory / "tasks.jsonl", _jsonl([records.task_row(task) for task in made]))
    return {"tasks": len(made)} | dict(Counter(task.difficulty for task in made))


def read_tasks(directory: Path) -> list[Task]:
    """The tasks of a directory. ValueError names the line of one whose reference does not do what its rubric wants."""
    known = records.known_domains(r for r in records.read_rows(directory / "tools.jsonl") if r["kind"] == "proposal")
    found = []
    for number, row in enumerate(records.read_rows(directory / "tasks.jsonl"), 1):
        try:
            found.append(records.task_of(row, known))
        except ValueError as error:
            raise ValueError(f"{directory / 'tasks.jsonl'}, line {number}: {error}") from None
    return found


def make_trajectories(directory: Path, roles: Roles, progress: Progress = silent) -> dict:
    """Plays every task of tasks.jsonl and writes what the judge accepts and rejects; returns counts.

    Goes on where a killed run stopped. ValueError if the directory holds conversations of other roles or tasks; ChatError if
    in a part no conversation came about.
    """
    every = read_tasks(directory)
    parts = [every[i : i + PART] for i in range(0, len(every), PART)]
    _same_settings(directory, roles, every)
    agent, user, critic = _players(roles)
    counts: Counter = Counter()
    for number, part in enumerate(progress(parts, "play tasks", len(parts))):
        record = _record(directory, number)
        if record is None:
            record = asyncio.run(_part(directory, number, part, roles, agent, user, critic))
        counts.update(record)
    return dict(counts)


def make_executed(directory: Path, servers: list[str], number: int, seed: int, agent: Spoken = SCRIPTED) -> dict:
    """Plays `number` tasks on each real server, the interpreter "python" or the "repository", beside what `directory` holds.

    A server that is done with these settings is left alone. SandboxError where no sandbox works; ValueError for a repository
    and the scripted agent, which cannot program.
    """
    if REPOSITORY in servers and agent.name == "scripted":
        raise ValueError("the scripted agent cannot program; name a model as the agent that works on the repository")
    player = executed.ScriptedToolAgent() if agent.name == "scripted" else open_model(agent)
    counts: Counter = Counter()
    for server in servers:
        settings = {"number": number, "seed": seed, "agent": agent.name}
        record = _path(directory, "parts", f"executed-{server}", "json")
        done = json.loads(record.read_text(encoding="utf-8")) if record.exists() else {}
        if done.get("settings") != settings:
            if server == REPOSITORY:
                played = asyncio.run(on_repository(number, seed, player))
            else:
                played = asyncio.run(on_server(server, forms.wishes(server, number, seed), player))
            made = {kind: [row for row in played if row["verdict"]["passed"] == (kind == "accepted")] for kind in KINDS}
            for kind, some in made.items():
                lines = [row | {"tools": json.dumps(row["tools"], ensure_ascii=False)} for row in some]
                written(_path(directory, kind, f"executed-{server}", "jsonl"), _jsonl(lines))
            done = {"settings": settings, "counts": {kind: len(some) for kind, some in made.items()}}
            written(record, json.dumps(done))
        counts.update(done["counts"])
    return dict(counts)


async def on_server(server: str, wishes: list[forms.Wish], agent: ChatModel) -> list[dict]:
    """The rows of tasks that the agent plays on one real server, or on the interpreter. SandboxError where no sandbox works."""
    if server == forms.PYTHON:
        if (why := unavailable()) is not None:
            raise SandboxError(why)
        return [await executed.play(wish, agent, executed.run_python, [executed.RUN_PYTHON]) for wish in wishes]
    async with opened(known(server)) as session:
        return [await executed.play(wish, agent, session.call, session.imported.specs) for wish in wishes]


async def on_repository(number: int, seed: int, agent: ChatModel) -> list[dict]:
    """The rows of attempts at the bundled repair; those that the sandbox made void are left out. SandboxError where none works."""
    if (why := unavailable()) is not None:
        raise SandboxError(why)
    task = repository.load("ledger")
    seeds = range(seed, seed + number)
    made = [repository.row(task, await repository.attempt(task, agent, seed=one), agent.model, one) for one in seeds]
    return [row for row in made if row is not None]


def rows(directory: Path, kind: str = "accepted") -> Iterator[dict]:
    """The conversations of a directory in order, `tools` as a list again. ValueError for another kind."""
    if kind not in KINDS:
        raise ValueError(f"unknown kind {kind!r}; choose one of {', '.join(KINDS)}")
    for path in sorted((directory / kind).glob("*.jsonl")):
        for row in records.read_rows(path):
            yield row | {"tools": json.loads(row["tools"])}


def _players(roles: Roles) -> tuple[ChatModel, User, ChatModel | None]:
    agent = ScriptedAgent() if roles.agent.name == "scripted" else open_model(roles.agent)
    user = scripted if roles.user.name == "scripted" else played_by(open_model(roles.user))
    return agent, user, None if roles.judge.name == "rules" else open_model(roles.judge)


async def _part(directory: Path, number: int, part: list[Task], roles: Roles, agent, user: User, critic) -> dict:
    limit = asyncio.Semaphore(roles.concurrency)
    named = "scripted user" if roles.user.name == "scripted" else roles.user.name
    how = {
        "max_turns": MOST_TURNS,
        "fault_rate": roles.fault_rate,
        "temperature": roles.temperature,
        "user_name": named,
    }

    why: list[ChatError] = []

    async def one(task: Task) -> dict | None:
        async with limit:
            try:
                played = await run_task(task, agent, user, **how)
                verdict = played.verdict if critic is None else await criticised(critic, played)
            except ChatError as error:
                why.append(error)
                return None
            return _row(played, verdict, roles.judge.name)

    found = await asyncio.gather(*map(one, part))
    made = [row for row in found if row is not None]
    if not made:
        raise ChatError(f"none of the {len(part)} conversations of part {number} came about: {why[-1]}")
    split = {kind: [row for row in made if row["verdict"]["passed"] == (kind == "accepted")] for kind in KINDS}
    for kind, some in split.items():
        written(_path(directory, kind, number, "jsonl"), _jsonl(some))
    counts = {kind: len(some) for kind, some in split.items()} | {"void": len(part) - len(made)}
    if not counts["void"]:  # otherwise the part is played again
        written(_path(directory, "parts", number, "json"), json.dumps(counts))
    return counts


def _row(played: Trajectory, verdict, judge: str) -> dict:
    """As `Trajectory.row`; tools as JSON text, since their schemas have no common form that a table could hold."""
    row = played.row()
    row["verdict"] = asdict(verdict)
    row["roles"]["judge"] = row["roles"]["judge"] if judge == "rules" else f"state and rubric, then {judge}"
    return row | {"tools": json.dumps(row["tools"], ensure_ascii=False), "outcomes": list(row["outcomes"].values())}


def _same_settings(directory: Path, roles: Roles, every: list[Task]) -> None:
    told = json.dumps([records.task_row(task) for task in every], sort_keys=True)
    wanted = roles.plain() | {"tasks": hashlib.sha256(told.encode()).hexdigest()[:16]}
    path = directory / "settings.json"
    if path.exists() and json.loads(path.read_text(encoding="utf-8")) != wanted:
        raise ValueError(
            f"{directory} holds conversations of other roles or tasks ({path}); choose another directory or remove them"
        )
    written(path, json.dumps(wanted, indent=1))


def _record(directory: Path, number: int) -> dict | None:
    """What a finished part counted; None if it has to be played."""
    path = _path(directory, "parts", number, "json")
    whole = path.exists() and all(_path(directory, kind, number, "jsonl").exists() for kind in KINDS)
    return json.loads(path.read_text(encoding="utf-8")) if whole else None


def _path(directory: Path, kind: str, part: int | str, suffix: str) -> Path:
    name = f"part-{part:06d}" if isinstance(part, int) else part
    return directory / kind / f"{name}.{suffix}"


def _jsonl(rows: list[dict]) -> str:
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
