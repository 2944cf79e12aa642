"""What `k2 synth` keeps in files: tools and tasks as plain data, and back again. A task that is read is proved again by execution."""

import json
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path

from k2lib.agents.domains import blueprint, domains
from k2lib.agents.domains.domain import Domain
from k2lib.agents.domains.wishes import domain
from k2lib.agents.evolution import Proposal
from k2lib.agents.rubric import Rubric, canonical
from k2lib.agents.simulator import Application, ToolSimulator
from k2lib.agents.tasks import Persona, Task


def proposal_row(proposal: Proposal, model: str) -> dict:
    """A proposed application, and which model proposed it."""
    return {"category": proposal.plan.category, "name": proposal.plan.name, "model": model, "plan": proposal.given}


def known_domains(proposals: Iterable[dict]) -> dict[str, Domain]:
    """The bundled domains and the proposed ones, by name. ValueError for a proposal that is none."""
    found = [domain(blueprint.read(row["category"], row["name"], row["plan"])) for row in proposals]
    return domains() | {one.name: one for one in found}


def application_row(application: Application) -> dict:
    told = {"name": application.name, "domain": application.domain.name, "category": application.domain.category}
    return told | {"tools": application.tools, "wording": application.wording}


def application_of(row: dict, known: dict[str, Domain]) -> Application:
    """ValueError for a domain that is not known, or an action that it has not."""
    if row["domain"] not in known:
        raise ValueError(
            f"the application {row['name']!r} is of the unknown domain {row['domain']!r}; make the tools anew"
        )
    found = known[row["domain"]]
    strange = [action for action in row["tools"].values() if action not in found.actions]
    if strange:
        raise ValueError(f"the domain {found.name} has no action {strange[0]!r}; make the tools anew")
    return Application(row["name"], found, row["tools"], row["wording"])


def task_row(task: Task) -> dict:
    told = {
        name: getattr(task, name)
        for name in ("id", "system", "instruction", "afterthought", "difficulty", "novelty", "seed")
    }
    told |= {"application": application_row(task.application), "persona": asdict(task.persona), "state": task.state}
    told |= {"reference": [list(call) for call in task.reference], "rubric": asdict(task.rubric)}
    return told | {"checkpoints": task.rubric.checkpoints(task.reference)}


def task_of(row: dict, known: dict[str, Domain]) -> Task:
    """ValueError for a row that is no task, or whose reference does not reach what its rubric wants."""
    try:
        application = application_of(row["application"], known)
        rubric = Rubric(**row["rubric"] | {"expected_tools": tuple(row["rubric"]["expected_tools"])})
        reference = tuple((name, arguments) for name, arguments in row["reference"])
        told = {
            name: row[name]
            for name in ("id", "system", "instruction", "afterthought", "difficulty", "novelty", "seed", "state")
        }
        task = Task(
            application=application, persona=Persona(**row["persona"]), reference=reference, rubric=rubric, **told
        )
    except (KeyError, TypeError) as error:
        raise ValueError(f"no task: {type(error).__name__} {error}") from None
    simulator = ToolSimulator(application, task.state)
    for name, arguments in reference:
        simulator.call(name, json.dumps(arguments))
    if canonical(simulator.state) != rubric.final_state:
        raise ValueError(f"the reference calls of task {task.id!r} do not reach the state that its rubric wants")
    return task


def read_rows(path: Path) -> list[dict]:
    """The rows of a JSONL file. FileNotFoundError or ValueError name it, and the line."""
    if not path.exists():
        raise FileNotFoundError(f"{path} does not exist; run the step before it")
    rows = []
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        try:
            row = json.loads(line)
        except ValueError as error:
            raise ValueError(f"{path}, line {number}: {error}") from None
        if not isinstance(row, dict):
            raise ValueError(f"{path}, line {number}: a {type(row).__name__}; want an object")
        rows.append(row)
    return rows
