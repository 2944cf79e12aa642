"""A task in a repository: an issue, files, a failing test that the agent may run, and cases it never sees (section 3.1).

The agent reads, edits and runs; whatever it runs, runs in the sandbox, and changes the files only there. Judged is what the program
prints on the hidden cases, compared on the host.
"""

from dataclasses import dataclass
from pathlib import Path

import yaml

from k2lib.agents.episode import normalise
from k2lib.agents.simulator import ToolResult
from k2lib.agents.tools import check_call, tool
from k2lib.llm.protocol import ChatModel
from k2lib.places import DATA
from k2lib.sandbox import Case, Grade, SandboxError, check_paths, grade, run, shown

FOLDER = DATA / "repositories"
READ, EDIT, RUN = "read_file", "edit_file", "run"
TOOLS = [
    tool(
        READ, "The lines of a file, numbered; of the folder '.' the names of all files.", {"path": {"type": "string"}}
    ),
    tool(
        EDIT,
        "Replaces a text that stands exactly once in a file. With an empty old text it makes a new file.",
        {"path": {"type": "string"}, "old": {"type": "string"}, "new": {"type": "string"}},
    ),
    tool(RUN, "Runs a line of bash in a copy of the repository.", {"command": {"type": "string"}}),
]
SYSTEM = "You repair a Python program. Read, edit and run its files with your tools. When you are done, say what you changed."
LONGEST = 8_000  # characters of what a tool returns
LARGEST = 100_000  # characters of a file
MOST_FILES = 64
START = "import runpy, sys\nsys.path.append('.')\nrunpy.run_module({module!r}, run_name='__main__')\n"


@dataclass(frozen=True)
class RepositoryTask:
    name: str
    issue: str
    files: dict[str, str]
    module: str  # what is run with a case's input
    cases: tuple[Case, ...]


def load(name: str, folder: Path = FOLDER) -> RepositoryTask:
    """The task of that name. FileNotFoundError where there is none."""
    root = folder / name
    hidden = yaml.safe_load((root / "hidden.yaml").read_text(encoding="utf-8"))
    files = {
        path.relative_to(root / "files").as_posix(): path.read_text(encoding="utf-8")
        for path in sorted((root / "files").rglob("*.py"))
    }
    cases = tuple(Case(**case) for case in hidden["cases"])
    issue = (root / "issue.md").read_text(encoding="utf-8")
    return RepositoryTask(name, issue, files, hidden["module"], cases)


class Workspace:
    """The files as the agent has changed them, and its three tools. A call never raises; what is wrong with it is the answer."""

    def __init__(self, files: dict[str, str]):
        self.files = dict(files)

    def call(self, name: object, arguments: object) -> ToolResult:
        """SandboxError, alone, passes through: that the sandbox fails is not the agent's doing."""
        values, reason = check_call(name, arguments, TOOLS)
        if values is None:
            return ToolResult(f"error: {reason}", False)
        answer = {READ: self._read, EDIT: self._edit, RUN: self._run}[name]
        try:
            return ToolResult(answer(**values)[:LONGEST], True)
        except ValueError as error:
            return ToolResult(f"error: {error}"[:LONGEST], False)

    def _read(self, path: str) -> str:
        if path in (".", ""):
            return "\n".join(sorted(self.files))
        return "\n".join(f"{number:4} {line}" for number, line in enumerate(self._file(path).splitlines(), 1))

    def _edit(self, path: str, old: str, new: str) -> str:
        if not old:
            return self._make(path, new)
        text = self._file(path)
        if (count := text.count(old)) != 1:
            raise ValueError(f"the old text stands {count} times in {path}; it must stand once")
        self.files[path] = self._small(text.replace(old, new))
        return f"changed {path}"

    def _make(self, path: str, text: str) -> str:
        if path in self.files:
            raise ValueError(f"{path} exists; say which text to replace")
        if len(self.files) >= MOST_FILES:
            raise ValueError(f"{MOST_FILES} files are the most")
        check_paths([*self.files, path])  # else an agent could make its own run void
        self.files[path] = self._small(text)
        return f"made {path}"

    def _run(self, command: str) -> str:
        result = run(command, "bash", files=self.files)
        said = shown(result.stdout + result.stderr).strip()
        return f"{result.status}, exit code {result.exit_code}\n{said[-LONGEST + 100 :]}"

    def _file(self, path: str) -> str:
        if path not in self.files:
            raise ValueError(f"no file {path[:80]!r}; there are {', '.join(sorted(self.files))}")
        return self.files[path]

    @staticmethod
    def _small(text: str) -> str:
        if len(text) > LARGEST:
            raise ValueError(f"{len(text)} characters, a file has {LARGEST} at most")
        return text


def judged(task: RepositoryTask, files: dict[str, str]) -> Grade:
    """The hidden cases, on the files as the agent left them. None of its tests is run for this, so none is worth bending."""
    return grade(START.format(module=task.module), task.cases, files=files)


@dataclass(frozen=True)
class Attempt:
    messages: list[dict]
    files: dict[str, str]
    grade: Grade  # void if the sandbox failed while the agent worked


async def attempt(task: RepositoryTask, model: ChatModel, turns: int = 24, seed: int = 0) -> Attempt:
    """The model works on the task until it answers without a call, or its turns are used up. Its errors pass through."""
    workspace = Workspace(task.files)
    messages: list[dict] = [{"role": "system", "content": SYSTEM}, {"role": "user", "content": task.issue}]
    try:
        for _ in range(turns):
            reply = await model.complete(messages, tools=TOOLS, max_tokens=1024, seed=seed)
            message = normalise(reply.message)
            messages.append(message)
            for call in message.get("tool_calls", ()):
                count = sum(m["role"] == "tool" for m in messages)
                call["id"] = f"functions.{call['function']['name']}:{count}"
                result = workspace.call(call["function"]["name"], call["function"]["arguments"])
                messages.append({"role": "tool", "tool_call_id": call["id"], "content": result.content})
            if "tool_calls" not in message:
                break
        return Attempt(messages, workspace.files, judged(task, workspace.files))
    except SandboxError:
        return Attempt(messages, workspace.files, Grade(None, None, ("void",) * len(task.cases)))


def row(task: RepositoryTask, done: Attempt, agent: str, seed: int) -> dict | None:
    """The attempt as `Trajectory.row` has it; None if it is void."""
    if done.grade.passed is None:
        return None
    results = [message["content"] for message in done.messages if message["role"] == "tool"]
    changed = sorted(path for path, text in done.files.items() if task.files.get(path) != text)
    reasons = [f"hidden case {number}: {why}" for number, why in enumerate(done.grade.why, 1) if why != "right"]
    checkpoints = [f"hidden case {number} prints what it must" for number in range(1, len(task.cases) + 1)]
    rubric = {
        "expected_tools": [EDIT],
        "report": None,
        "must_ask": None,
        "refused": False,
        "state": [],
        "checkpoints": checkpoints,
    }
    return {
        "task_id": f"repository-{task.name}-{seed}", "messages": done.messages, "tools": TOOLS, "seed": seed, "difficulty": "repository",
        "category": "executed", "domain": "repository", "application": task.name, "novelty": "seen", "persona": "plain", "rubric": rubric,
        "verdict": {"passed": done.grade.passed, "reasons": reasons, "checkpoints": [why == "right" for why in done.grade.why]},
        "outcomes": ["refused" if text.startswith("error: ") else "success" for text in results],
        "state": [f"changed {path}" for path in changed], "state_hash": {},
        "roles": {"agent": agent, "user": "the issue", "tools": "executed: sandbox", "judge": "hidden cases"},
    }  # fmt: skip
