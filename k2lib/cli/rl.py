"""rl: train a checkpoint by reinforcement learning."""

import argparse
from pathlib import Path

FAMILIES = "mathematics, puzzles, tables, morse, following, faithfulness, coding, repairs, safety, tool-use"
OBJECTIVES, SAMPLING = ("k2", "reinforce", "grpo", "rejection"), ("uniform", "curriculum", "prioritised")


def commands(groups) -> None:
    command = groups.add_parser(
        "rl", help="train a checkpoint on problems that a program checks, or on your own environment"
    )
    command.set_defaults(run=rl)
    command.add_argument("checkpoint", type=Path, help="a directory in the released layout, fine-tuned by `k2 sft`")
    command.add_argument("output", type=Path, help="the directory to write; a run that was killed goes on")
    command.add_argument(
        "--family", action="append", default=[], help=f"of problems, several times for several: {FAMILIES}"
    )
    command.add_argument("--level", type=int, help="of difficulty, 0 to 2; all of them if not given")
    command.add_argument("--rows", type=Path, help="your own tasks: a .jsonl file with a prompt in each row")
    command.add_argument("--environment", metavar="FILE.py:CLASS", help="in which the rows are played, in TRL's form")
    command.add_argument(
        "--reward", action="append", default=[], metavar="FILE.py:NAME", help="scores the rows, in TRL's form"
    )
    command.add_argument("--budget", type=int, default=256, help="tokens of one turn in your own tasks")
    command.add_argument("--ptx", type=Path, help="conversations that shall not be forgotten, as `k2 sft` reads them")
    command.add_argument("--steps", type=int, default=100, help="iterations")
    command.add_argument("--prompts", type=int, default=16, help="problems of an iteration")
    command.add_argument("--samples", type=int, default=8, help="episodes of a problem")
    command.add_argument("--epochs", type=int, default=2, help="passes over the episodes of an iteration")
    command.add_argument("--minibatches", type=int, default=2, help="updates of a pass")
    command.add_argument(
        "--candidates", type=int, default=512, help="problems of the families from which the moderate ones are taken"
    )
    command.add_argument("--development", type=int, default=32, help="problems that choose the model that is kept")
    command.add_argument("--heldout", type=int, default=64, help="problems on which success is measured, at most")
    command.add_argument("--sampling", choices=SAMPLING, default="uniform", help="the order of problems")
    command.add_argument("--allowance", type=int, help="tokens of an episode in one iteration, after which it pauses")
    command.add_argument(
        "--base-url", default="", help="an endpoint that plays: `k2 serve --takes-weights`, or like it"
    )
    command.add_argument("--objective", choices=OBJECTIVES, default="k2", help="of an update")
    command.add_argument(
        "--reset", action="store_true", help="begin every iteration with a new optimizer, as Kimi k1.5 does"
    )
    command.add_argument(
        "--patience",
        type=int,
        default=0,
        help="looks at the development split without a better model after which it stops; 0: never",
    )
    command.add_argument("--lr", type=float, default=3e-4)
    command.add_argument("--tau", type=float, default=0.1, help="the pull towards the sampling policy")
    command.add_argument("--temperature", type=float, nargs=2, default=[1.0, 0.7], metavar=("FROM", "TO"))
    command.add_argument("--seed", type=int, default=0)


def rl(options: argparse.Namespace) -> int:
    from tqdm.auto import tqdm

    from k2lib.rl.run import reinforce
    from k2lib.sizes import RLSize
    from k2lib.train.sft import read

    problems, heldout = _problems(options)
    same = {name: getattr(options, name) for name in RLSize.__dataclass_fields__ if hasattr(options, name)}
    size = RLSize(**same | {"temperature": tuple(options.temperature)}, ptx_weight=0.1, check_every=4)
    rows = read(options.ptx) if options.ptx else None
    shown = {"progress": lambda items, what, total: tqdm(items, desc=what, total=total)}
    how = {"rows": rows, "base_url": options.base_url, "seed": options.seed} | shown
    result = reinforce(options.checkpoint, problems, heldout, options.output, size, **how)
    print(f"{result.moderate} of {result.candidates} problems are of moderate difficulty")
    for step, rate in result.development:
        print(
            f"after {step} iterations {rate:.3f} of the development split" + (" (kept)" if step == result.kept else "")
        )
    for name in ("sampled", "greedy"):
        before, after = (getattr(success, name) for success in (result.before, result.after))
        print(f"held out, {name}: {sum(before) / len(before):.3f} before, {sum(after) / len(after):.3f} after")
    return 0


def _problems(options: argparse.Namespace) -> tuple[list, list]:
    """(to train on, held out); of a user's rows every eighth is held out, at most as many as wanted."""
    from k2lib.gym.families import own, problems, read_rows

    if bool(options.family) == bool(options.rows):
        raise ValueError("give either --family or --rows")
    if options.rows:
        made = own(read_rows(options.rows), options.environment, options.reward, options.budget)
        heldout = made[::8][: options.heldout]
        return [one for one in made if one not in heldout], heldout
    count, level = len(options.family), options.level
    train, heldout = [], []
    for name in options.family:
        train += problems(name, options.candidates // count, options.seed + 1000, "train", level)
        heldout += problems(name, options.heldout // count, options.seed, "test", level)
    return _mixed(train, count), list({str(one.messages): one for one in heldout}.values())  # each question once


def _mixed(every: list, families: int) -> list:
    """In turn of each family, since the first ones are the development split."""
    length = len(every) // families
    return [every[family * length + place] for place in range(length) for family in range(families)]
