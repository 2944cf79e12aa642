"""A tool server that runs in the sandbox, spoken to by the Model Context Protocol: its tools are listed, and really called."""

import contextlib
import json
import shlex
import tempfile
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

from k2lib.agents.servers import Server
from k2lib.agents.simulator import LONGEST_RESULT, ToolResult
from k2lib.agents.specs import adapted
from k2lib.agents.tools import check_call
from k2lib.sandbox import Limits, SandboxError, command, seccomp, shown, unavailable

LIMITS = Limits(
    cpu_seconds=120, memory_mb=4096, processes=64, open_files=1024
)  # Node reserves gigabytes of addresses and uses few
PATIENCE = 30.0  # seconds for a call, and for a server to start
FILTER = 9  # the descriptor of the filter of system calls
MOST_TOOLS = 200


@dataclass(frozen=True)
class Imported:
    """What a server says of itself, as K2 would be told of it."""

    server: str
    version: str
    specs: list[dict]  # OpenAI functions
    changes: dict[str, tuple[str, ...]]  # of each tool's schema: what the served subset cannot say
    refused: dict[str, tuple[str, ...]]  # tools left out, and why


class Session:
    """A server at work. What it did to its files lasts as long as the session."""

    def __init__(self, client, imported: Imported):
        self._client, self.imported = client, imported

    async def call(self, name: object, arguments: object) -> ToolResult:
        """A call as a model wrote it, executed if a declared tool accepts it. Never raises for what a model or the server says."""
        from mcp import MCPError

        values, reason = check_call(name, arguments, self.imported.specs)
        if values is None:
            return ToolResult(json.dumps({"error": reason}), False)
        try:
            result = await self._client.call_tool(name, values, read_timeout_seconds=PATIENCE)
        except (MCPError, TimeoutError, ValueError) as error:
            return ToolResult(json.dumps({"error": shown(str(error))[:LONGEST_RESULT]}), False)
        text = "\n".join(part.text for part in result.content if getattr(part, "type", "") == "text")
        return ToolResult(shown(text)[:LONGEST_RESULT], not result.is_error)


@contextlib.asynccontextmanager
async def opened(server: Server) -> AsyncIterator[Session]:
    """SandboxError where no sandbox works or the server does not start in one; RuntimeError without the package mcp."""
    try:
        from mcp import Client, MCPError, StdioServerParameters
        from mcp.client.stdio import stdio_client
    except ImportError as error:
        raise RuntimeError("tool servers need the Model Context Protocol: pip install 'k2lib[mcp]'") from error
    if (why := unavailable()) is not None:
        raise SandboxError(why)
    with tempfile.TemporaryDirectory() as folder, open(Path(folder) / "said", "w+") as said:
        Path(folder).chmod(0o755)
        (rules := Path(folder) / "filter").write_bytes(seccomp.compiled())
        start = f"{{ {server.prepare}; }} >&2 && exec {shlex.join(server.command)}"
        walls = command.walls(LIMITS, server.folders, {}, FILTER, None)
        line = ["-c", f'exec {FILTER}<"$0" && exec "$@"', str(rules), *command.nobody(), *walls, "bash", "-c", start]
        parameters = StdioServerParameters(command="/bin/sh", args=line, env={})
        own: list[Exception] = []  # of who uses the session, which a task group would wrap
        try:
            async with Client(stdio_client(parameters, said), read_timeout_seconds=PATIENCE) as client:
                session = Session(client, await _imported(server.name, client))
                try:
                    yield session
                except Exception as error:
                    own.append(error)
        except (MCPError, TimeoutError, OSError, ExceptionGroup) as error:
            if own:
                raise own[0] from None
            said.seek(0)
            last = shown(said.read()).strip()[-300:]
            raise SandboxError(f"the server {server.name} did not answer ({_first(error)}): {last}") from None
        if own:
            raise own[0]


def _first(error: BaseException) -> str:
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return str(error)[:200]


async def _imported(name: str, client) -> Imported:
    specs, changes, refused = [], {}, {}
    for tool in (await client.list_tools()).tools[:MOST_TOOLS]:
        found = adapted(tool.name, tool.description or "", tool.input_schema)
        if found.spec is None:
            refused[tool.name] = found.changes
        else:
            specs.append(found.spec)
            changes |= {tool.name: found.changes} if found.changes else {}
    info = client.server_info
    return Imported(name, f"{info.name} {info.version}", specs, changes, refused)
