"""Reads the command line; every subcommand is a few lines over one function of the package.

An expected error (a wrong name, a missing file, a notebook that failed) is one sentence on stderr and exit code 2 or 1;
`k2 --traceback …` shows where it came from. To add a command, write a function that takes the parsed arguments and
returns an exit code, and add it in its group's `commands`. Imports stand inside the functions: `k2 --help` must not wait
for PyTorch.
"""

import argparse
import sys

from k2lib.cli import bench, chat, kernel, notebooks, rephrase, rl, serve, sft, synth, tools


def main(arguments: list[str] | None = None) -> int:
    """Runs one subcommand; its exit code (0 good, 1 the work failed, 2 bad input, 130 interrupted)."""
    options = parser().parse_args(arguments)
    try:
        return options.run(options)
    except KeyboardInterrupt:
        return 130
    except (ValueError, OSError, RuntimeError, ModuleNotFoundError) as error:
        if options.traceback:
            raise
        print(f"k2 {options.command}: {error}", file=sys.stderr)
        return 2


def parser() -> argparse.ArgumentParser:
    """The whole command line."""
    top = argparse.ArgumentParser(prog="k2", description="Kimi K2, reproduced in notebooks over one library.")
    top.add_argument("--traceback", action="store_true", help="show the Python traceback of an error")
    groups = top.add_subparsers(dest="command", required=True, metavar="command")
    for group in (notebooks, rephrase, tools, synth, sft, rl, chat, serve, kernel, bench):
        group.commands(groups)
    return top
