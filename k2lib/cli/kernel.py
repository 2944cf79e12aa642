"""kernel: the raw CUDA kernels, run on a GPU or on the simulator."""

import argparse


def commands(groups) -> None:
    command = groups.add_parser("kernel", help="run a raw CUDA kernel: on a GPU, or simulated on any laptop")
    command.set_defaults(run=kernel)
    command.add_argument("action", choices=["list", "run"])
    command.add_argument("name", nargs="?", help="of kernels/NAME.cu, for run")
    command.add_argument("--rows", type=int, default=256)
    command.add_argument("--columns", type=int, default=512)
    command.add_argument("--seed", type=int, default=0)


def kernel(options: argparse.Namespace) -> int:
    from k2lib.cuda import show, source

    if options.action == "run":
        if options.name is None:
            raise ValueError(f"name a kernel to run: {', '.join(source.names())}")
        show.run(options.name, options.rows, options.columns, options.seed)
        return 0
    for name in source.names():
        print(f"{name:16} {source.summary(name)}")
    return 0
