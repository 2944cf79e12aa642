"""bench: ours against the strongest peer, in turns."""

import argparse

NAMES = {
    "model": "a training step",
    "decode": "decoding",
    "memory": "bytes kept for the backward pass, and the time of a step",
    "optim": "an optimizer's step",
    "kernels": "the raw kernels, on a GPU",
    "rephrase": "a corpus read, its duplicates found, its rewrites checked",
    "sandbox": "programs a second behind walls, and without",
    "rollouts": "episodes of very different length, with and without pauses",
    "rl": "a whole iteration of reinforcement learning (needs TRL: pip install trl)",
}  # files of k2lib/bench/


def commands(groups) -> None:
    command = groups.add_parser("bench", help="time ours against the strongest peer; the last line is JSON")
    command.set_defaults(run=bench)
    command.add_argument("name", choices=NAMES, help=", ".join(f"{name}: {what}" for name, what in NAMES.items()))
    command.add_argument("--dtype", default="auto", help="of products: float32, bfloat16 or auto (the default)")
    command.add_argument("--rounds", type=int, default=7)
    command.add_argument("--compiled", action="store_true", help="model: the peer's compiled step too (minutes)")


def bench(options: argparse.Namespace) -> int:
    import importlib

    import torch

    from k2lib import machine

    if options.compiled and options.name != "model":
        raise ValueError(f"--compiled is an option of `k2 bench model`, not of {options.name}")
    torch.set_num_threads(machine.threads())
    run = importlib.import_module(f"k2lib.bench.{options.name}").run
    run(options.dtype, options.rounds, **({"compiled": True} if options.compiled else {}))
    return 0
