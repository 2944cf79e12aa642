"""tools: specifications from real servers, as K2 would be told of them."""

import argparse
from pathlib import Path


def commands(groups) -> None:
    command = groups.add_parser("tools", help="tools of real servers, through the Model Context Protocol")
    kinds = command.add_subparsers(dest="kind", required=True, metavar="list | import")
    listed = kinds.add_parser("list", help="the servers that the kit knows")
    listed.set_defaults(run=show)
    taken = kinds.add_parser("import", help="start a server in the sandbox and write down its tools")
    taken.set_defaults(run=take)
    taken.add_argument("server", help="a known one's name, or a name for your own")
    taken.add_argument(
        "--command", dest="line", default="", help="starts your own server, which speaks on stdin and stdout"
    )
    taken.add_argument("--folder", type=Path, action="append", default=[], help="of the host, that your server reads")
    taken.add_argument("--out", type=Path, help="the file; NAME.json if none is given")


def show(_options: argparse.Namespace) -> int:
    from k2lib.agents.servers import PACKAGES, have

    for name, package in PACKAGES.items():
        print(f"{name:8} {package.what} ({package.requirements[0]}{', here' if have(name) else ''})")
    return 0


def take(options: argparse.Namespace) -> int:
    import asyncio
    import json
    import shlex
    from dataclasses import asdict

    from k2lib.agents.servers import Server, known
    from k2lib.agents.session import opened
    from k2lib.store import write_atomic

    if options.line:
        folders = tuple(folder.resolve(strict=True) for folder in options.folder)
        server = Server(options.server, tuple(shlex.split(options.line)), folders)
    elif options.folder:
        raise ValueError("--folder belongs to --command; a known server brings its own")
    else:
        server = known(options.server)

    async def ask():
        async with opened(server) as session:
            return session.imported

    imported = asyncio.run(ask())
    path = options.out or Path(f"{options.server}.json")
    write_atomic(path, json.dumps(asdict(imported), indent=1, ensure_ascii=False) + "\n")
    print(f"{imported.version}: {len(imported.specs)} tools in {path}")
    for name, why in (imported.refused | imported.changes).items():
        print(f"  {name}: {'; '.join(why)}")
    return 0
