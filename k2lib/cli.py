"""The `k2` command: every subcommand is a few lines over one function of the package.

An expected error (a wrong name, a missing file, a notebook that failed) is one sentence on stderr and exit code 2 or 1;
`k2 --traceback …` shows where it came from. To add a command, write a function that takes the parsed arguments and
returns an exit code, and give it a `_command` line in `parser`. Imports stand inside the functions: `k2 --help` must
not wait for PyTorch.
"""

import argparse
import sys

DEFAULT_PROFILE = "laptop"


def main(arguments: list[str] | None = None) -> int:
    """Runs one subcommand; its exit code (0 good, 1 the work failed, 2 bad input, 130 interrupted)."""
    options = parser().parse_args(arguments)
    try:
        return options.run(options)
    except KeyboardInterrupt:
        return 130
    except (ValueError, OSError, RuntimeError) as error:
        if options.traceback:
            raise
        print(f"k2 {options.command}: {error}", file=sys.stderr)
        return 2


def parser() -> argparse.ArgumentParser:
    """The whole command line."""
    top = argparse.ArgumentParser(prog="k2", description="Kimi K2, reproduced in notebooks over one library.")
    top.add_argument("--traceback", action="store_true", help="show the Python traceback of an error")
    commands = top.add_subparsers(dest="command", required=True, metavar="command")

    command = _command(commands, "reproduce", reproduce, "run the notebooks that are out of date, in order")
    _profile(command)
    command.add_argument("--only", nargs="+", default=[], metavar="NN", help="these notebooks only, by number or name")
    command.add_argument("--from", dest="start", metavar="NN", help="this notebook and those after it")
    command.add_argument("--force", action="store_true", help="run them even when they are up to date")
    command.add_argument("--keep-going", action="store_true", help="go on with the next notebook after a failure")
    command.add_argument("--seed", type=int, default=0, help="of data and weights (0, the published one)")

    command = _command(commands, "notebooks", notebooks, "re-run the committed notebooks and make them canonical")
    command.add_argument("names", nargs="*", metavar="NN", help="these only; all when none is named")
    command.add_argument("--check", action="store_true", help="change nothing, list what is not canonical")

    command = _command(commands, "chat", chat, "talk to a checkpoint, ours or one that transformers wrote")
    command.add_argument("--model", required=True, metavar="DIR", help="a checkpoint directory")
    command.add_argument("--system", default="", help="the system message")
    command.add_argument("--temperature", type=float, default=0.6)
    command.add_argument("--max-tokens", type=int, default=256, help="of one answer")
    command.add_argument("--seed", type=int, default=0)

    command = _command(commands, "bench", bench, "time ours against the strongest peer; the last line is JSON")
    command.add_argument("name", choices=["model", "decode"], help="a training step, or decoding")
    command.add_argument("--dtype", default="auto", help="of products: float32, bfloat16 or auto (the default)")
    command.add_argument("--rounds", type=int, default=7)
    command.add_argument("--compiled", action="store_true", help="model: the peer's compiled step too (minutes)")

    command = _command(commands, "publish", publish, "copy a run's results to data/results, to be committed")
    _profile(command)
    _command(commands, "readme", readme, "write README's claims table and picture from data/results")
    return top


def reproduce(options: argparse.Namespace) -> int:
    from k2lib.runner import reproduce

    return reproduce(
        options.profile,
        only=options.only,
        start=options.start,
        force=options.force,
        keep_going=options.keep_going,
        seed=options.seed,
    )


def notebooks(options: argparse.Namespace) -> int:
    from k2lib import books

    return books.check(options.names) if options.check else books.build(options.names)


def chat(options: argparse.Namespace) -> int:
    from k2lib.llm import terminal

    terminal.converse(
        *terminal.load(options.model),
        system=options.system,
        temperature=options.temperature,
        max_tokens=options.max_tokens,
        seed=options.seed,
    )
    return 0


def bench(options: argparse.Namespace) -> int:
    import torch

    from k2lib import machine
    from k2lib.bench import decode, model

    torch.set_num_threads(machine.threads())
    if options.name == "model":
        model.run(options.dtype, options.rounds, options.compiled)
    else:
        decode.run(options.dtype, options.rounds)
    return 0


def publish(options: argparse.Namespace) -> int:
    from k2lib.report.publish import publish

    for path in publish(options.profile):
        print(path)
    return 0


def readme(options: argparse.Namespace) -> int:
    from k2lib.report import cover
    from k2lib.report.table import update_readme

    print("README.md: the claims table was " + ("brought up to date" if update_readme() else "current"))
    print(
        "README.md: the picture was " + ("drawn" if cover.draw() else "left as it is: it needs a Chromium and results")
    )
    return 0


def _command(commands, name: str, run, help: str) -> argparse.ArgumentParser:
    command = commands.add_parser(name, help=help, description=help)
    command.set_defaults(run=run)
    return command


def _profile(command: argparse.ArgumentParser) -> None:
    command.add_argument("--profile", default=DEFAULT_PROFILE, help="smoke, laptop (the default) or gpu")


if __name__ == "__main__":
    sys.exit(main())
