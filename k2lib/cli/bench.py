"""bench: ours against the strongest peer, in turns."""

import argparse


def commands(groups) -> None:
    command = groups.add_parser("bench", help="time ours against the strongest peer; the last line is JSON")
    command.set_defaults(run=bench)
    command.add_argument("name", choices=["model", "decode"], help="a training step, or decoding")
    command.add_argument("--dtype", default="auto", help="of products: float32, bfloat16 or auto (the default)")
    command.add_argument("--rounds", type=int, default=7)
    command.add_argument("--compiled", action="store_true", help="model: the peer's compiled step too (minutes)")


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
