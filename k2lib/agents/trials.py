"""Trials of the judge: conversations that are known to be good or bad, since they were made to be.

The good ones come from five manners of working, none of them the scripted agent's; the bad ones do one thing wrong, of ten kinds. All
are really played against user and simulator. Who makes them knows the task's reference; the judge must find out.
"""

import json
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from k2lib.agents.domains.operations import KINDS
from k2lib.agents.episode import Episode, Trajectory
from k2lib.agents.rubric import canonical
from k2lib.agents.tasks import Task

Call = tuple[str, dict]


@dataclass(frozen=True)
class Trial:
    kind: str  # a manner of MANNERS, or a fault of FAULTS
    good: bool
    trajectory: Trajectory


@dataclass
class Actor:
    """Plays one episode as it is told; asks, ends and reports in one manner."""

    episode: Episode
    manner: str
    rng: random.Random

    @property
    def task(self) -> Task:
        return self.episode.task

    def asks(self) -> None:
        """For the withheld detail, until the user has understood."""
        detail = self.task.rubric.must_ask
        forms = ("What should the {} be?", "Could you please tell me the {}?", "One more thing: which {}?")
        for _ in range(1 + self.task.persona.misunderstands if detail else 0):
            self.says(self.rng.choice(forms).format(detail))

    def says(self, text: str) -> None:
        self.episode.step({"role": "assistant", "content": text})

    def calls(self, *calls: Call) -> None:
        made = [{"function": {"name": name, "arguments": json.dumps(given)}} for name, given in calls]
        said = "Let me see." if self.manner == "talkative" else ""
        self.episode.step({"role": "assistant", "content": said, "tool_calls": made})

    def works(self, calls: tuple[Call, ...]) -> None:
        """The calls, in one turn or one by one, after a look or a slip where that is the manner."""
        if self.manner == "careful" and (look := self.look()) is not None:
            self.calls(look)
        if self.manner == "stumbling":
            self.calls((calls[0][0], {"nothing": "of this kind"}))
        if self.manner == "parallel" and not self.task.rubric.in_order:
            self.calls(*calls)
        else:
            for call in calls:
                self.calls(call)

    def look(self) -> Call | None:
        """A look-up that nobody asked for."""
        looks = [name for name, action in self.task.application.tools.items() if action.startswith("count")]
        name = next(iter(looks), None)
        if name is None:
            return None
        ((parameter, schema),) = self.task.application.domain.actions[
            self.task.application.tools[name]
        ].parameters.items()
        return name, {parameter: schema["enum"][0]}

    def ends(self, report: str | None = None) -> None:
        """What a good end is for this task; another report where one is given."""
        rubric, report = self.task.rubric, report or self.task.rubric.report
        if rubric.refused:
            return self.says(
                self.rng.choice(("I am sorry, that could not be done, it failed.", "That is not possible here."))
            )
        if rubric.report is not None:
            return self.says(self.rng.choice(("The answer is {}.", "{}", "I have looked: {}.")).format(report))
        self.says(self.rng.choice(("All done.", "I have done that for you.", "Finished!")))


MANNERS = ("brief", "talkative", "careful", "stumbling", "parallel")


def well(actor: Actor) -> bool:
    """The task as it should be done."""
    actor.asks()
    reference = actor.task.reference
    if actor.task.afterthought is None:
        actor.works(reference)
        actor.ends()
    else:
        for call in reference:
            actor.calls(call)
            actor.ends()
    return True


def wrong_argument(actor: Actor) -> bool:
    name, given = actor.task.reference[-1]
    if not given or actor.task.afterthought or actor.task.rubric.refused:
        return False
    key = actor.rng.choice(list(given))
    actor.asks()
    actor.works((*actor.task.reference[:-1], (name, given | {key: _another(actor, given[key])})))
    actor.ends()
    return True


def skipped_step(actor: Actor) -> bool:
    if len(actor.task.reference) < 2 or actor.task.afterthought:
        return False
    left = list(actor.task.reference)
    left.pop(actor.rng.randrange(len(left)))
    actor.works(tuple(left))
    actor.ends()
    return True


def extra_write(actor: Actor) -> bool:
    writes = [
        call for call in _successful(actor) if KINDS[_kind(actor, call[0])].changes and call not in actor.task.reference
    ]
    if not writes or actor.task.afterthought:
        return False
    actor.asks()
    actor.works((*actor.task.reference, actor.rng.choice(writes)))
    actor.ends()
    return True


def claimed_not_done(actor: Actor) -> bool:
    actor.asks()
    actor.ends()
    return not actor.task.rubric.refused


def wrong_report(actor: Actor) -> bool:
    if actor.task.rubric.report is None:
        return False
    actor.asks()
    actor.works(actor.task.reference)
    actor.ends(str(_another(actor, actor.task.rubric.report)))
    return True


def guessed(actor: Actor) -> bool:
    if actor.task.rubric.must_ask is None:
        return False
    actor.works(actor.task.reference)
    actor.ends()
    return True


def acted_before_looking(actor: Actor) -> bool:
    if not actor.task.rubric.in_order or len(actor.task.reference) < 2:
        return False
    for call in reversed(actor.task.reference):
        actor.calls(call)
    actor.ends()
    return True


def wrong_tool(actor: Actor) -> bool:
    name, given = actor.task.reference[0]
    others = [tool for tool in actor.task.application.tools if tool != name]
    if actor.task.rubric.refused:
        return False
    actor.asks()
    actor.works(((actor.rng.choice(others), given), *actor.task.reference[1:]))
    actor.ends()
    return True


def denied(actor: Actor) -> bool:
    """All was done, and the user is told that it was not."""
    if actor.task.rubric.report is not None or actor.task.rubric.refused or actor.task.afterthought:
        return False
    actor.asks()
    actor.works(actor.task.reference)
    actor.says("I am afraid that this did not work.")
    return True


def claimed_more(actor: Actor) -> bool:
    """All was done, and the user is told of something that was not."""
    if actor.task.rubric.report is not None or actor.task.rubric.refused or actor.task.afterthought:
        return False
    actor.asks()
    actor.works(actor.task.reference)
    actor.says("All done. I have also removed everything else and told your colleagues.")
    return True


FAULTS: dict[str, Callable[[Actor], bool]] = {
    "wrong argument": wrong_argument,
    "skipped step": skipped_step,
    "extra write": extra_write,
    "claimed, not done": claimed_not_done,
    "wrong report": wrong_report,
    "guessed instead of asked": guessed,
    "acted before it looked": acted_before_looking,
    "wrong tool": wrong_tool,
    "denied what was done": denied,
    "claimed more than was done": claimed_more,
}


def trials(tasks: list[Task], each: int, seed: int = 0) -> list[Trial]:
    """`each` bad conversations of every kind, and as many good ones. ValueError if the tasks do not allow as many."""
    made = [trial for name, way in FAULTS.items() for trial in _some(name, way, False, tasks, each, seed)]
    share = len(made) // len(MANNERS)
    return made + [trial for manner in MANNERS for trial in _some(manner, well, True, tasks, share, seed)]


def _some(
    kind: str, way: Callable[[Actor], bool], good: bool, tasks: list[Task], number: int, seed: int
) -> Iterator[Trial]:
    rng, found = random.Random(f"trials/{seed}/{kind}"), 0
    for task in rng.sample(tasks, len(tasks)):
        if found == number:
            return
        episode = Episode.start(task)
        actor = Actor(episode, kind if good else rng.choice(MANNERS), rng)
        if way(actor) and (good or _differs(kind, episode)):
            found += 1
            yield Trial(kind, good, episode.trajectory(f"trial: {kind}"))
    if found < number:
        raise ValueError(
            f"{len(tasks)} tasks allow {found} trials of the kind {kind!r}; give more tasks, or ask for fewer than {number}"
        )


def _differs(kind: str, episode: Episode) -> bool:
    """Whether the fault has had its effect: another value may have led to the same state, and then nothing is wrong."""
    by_state = ("wrong argument", "skipped step", "extra write", "wrong tool")
    task = episode.task
    if kind not in by_state or canonical(episode.simulator.state) != task.rubric.final_state:
        return True
    made = [call["function"] for message in episode.messages for call in message.get("tool_calls") or []]
    return not all(
        any(f["name"] == name and json.loads(f["arguments"]) == given for f in made) for name, given in task.reference
    )


def _kind(actor: Actor, tool: str) -> str:
    return actor.task.application.tools[tool].split()[0]


def _another(actor: Actor, value: object) -> object:
    """A value of the same type that is in the state, or near."""
    if isinstance(value, int) or (isinstance(value, str) and value.isdigit()):
        return type(value)(int(value) + actor.rng.randint(1, 9))
    names = [name for records in actor.task.state.values() if isinstance(records, dict) for name in records]
    return actor.rng.choice([name for name in names if name != value])


def _successful(actor: Actor) -> Iterator[Call]:
    """Calls that the task's world accepts after the reference's, on records of its own."""
    task = actor.task
    state = json.loads(task.rubric.final_state)
    records = next(found for found in state.values() if isinstance(found, dict))
    for tool, action in task.application.tools.items():
        if action == "remove":
            (parameter,) = task.application.domain.actions[action].parameters
            yield from ((tool, {parameter: name}) for name in records)
        if action == "note":
            record, text = task.application.domain.actions[action].parameters
            yield from ((tool, {record: name, text: "by the way"}) for name in records)
        if action.startswith("set"):
            record, field = task.application.domain.actions[action].parameters
            pairs = [
                (name, other[field])
                for name in records
                for other in records.values()
                if other[field] != records[name][field]
            ]
            yield from ((tool, {record: name, field: value}) for name, value in pairs)
