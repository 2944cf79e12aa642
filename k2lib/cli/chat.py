"""chat: a conversation with a checkpoint in the terminal."""

import argparse


def commands(groups) -> None:
    command = groups.add_parser("chat", help="talk to a checkpoint, ours or one that transformers wrote")
    command.set_defaults(run=chat)
    command.add_argument("--model", required=True, metavar="DIR", help="a checkpoint directory")
    command.add_argument("--system", default="", help="the system message")
    command.add_argument("--temperature", type=float, default=0.6)
    command.add_argument("--max-tokens", type=int, default=256, help="of one answer")
    command.add_argument("--seed", type=int, default=0)


def chat(options: argparse.Namespace) -> int:
    from k2lib.llm import terminal

    settings = {"temperature": options.temperature, "max_tokens": options.max_tokens, "seed": options.seed}
    terminal.converse(*terminal.load(options.model), system=options.system, **settings)
    return 0
