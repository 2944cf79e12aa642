"""sft: fine-tune a checkpoint on conversations."""

import argparse
from pathlib import Path


def commands(groups) -> None:
    command = groups.add_parser(
        "sft", help="fine-tune a checkpoint on conversations, such as those of `k2 synth export`"
    )
    command.set_defaults(run=sft)
    command.add_argument(
        "data", type=Path, help="a .jsonl or .parquet file with messages and, as a list or as JSON text, tools"
    )
    command.add_argument("checkpoint", type=Path, help="a directory in the released layout")
    command.add_argument("output", type=Path, help="the directory to write; a run that was killed goes on")
    command.add_argument("--steps", type=int, default=200)
    command.add_argument("--batch-size", type=int, default=8, help="packed sequences")
    command.add_argument("--seq-len", type=int, default=1024)
    command.add_argument("--lr", type=float, default=1e-3)
    command.add_argument("--warmup", type=int, default=10)
    command.add_argument("--optimizer", choices=["muonclip", "adamw"], default="muonclip")
    command.add_argument(
        "--mix", type=float, default=0.0, help="share of the loss that is text of --corpus, against forgetting"
    )
    command.add_argument("--corpus", type=Path, help="a file or folder of text, as `k2 rephrase` reads it")
    command.add_argument("--validation", type=float, default=0.05, help="share of the rows that is held out")
    command.add_argument("--seed", type=int, default=0)


def sft(options: argparse.Namespace) -> int:
    from tqdm.auto import tqdm

    from k2lib.corpus.readers import read_corpus
    from k2lib.train.sft import Settings, fine_tune, read

    settings = Settings(**{name: getattr(options, name) for name in Settings.__dataclass_fields__})
    texts = [document.text for document in read_corpus(options.corpus, what="--corpus")] if options.corpus else None
    told = fine_tune(
        options.checkpoint,
        read(options.data),
        options.output,
        settings,
        texts=texts,
        progress=lambda items, what, total: tqdm(items, desc=what, total=total, unit="step"),
    )
    print(
        f"{told['rows']:,} rows, {told['too_long']:,} too long for {settings.seq_len} tokens; written to {options.output}"
    )
    if (losses := told["validation"])["before"] is not None:
        print(f"validation loss {losses['before']:.3f} before, {losses['after']:.3f} after")
    return 0
