"""rephrase: a corpus of one's own, rewritten and checked."""

import argparse
import os


def commands(groups) -> None:
    command = groups.add_parser("rephrase", help="rewrite a folder of documents in other styles, each rewrite checked")
    command.set_defaults(run=rephrase)
    command.add_argument("input", metavar="INPUT", help="a file or folder: text, Markdown, HTML, JSON lines, parquet")
    command.add_argument("output", metavar="OUTPUT", help="a directory; a run that was cut goes on in it")
    command.add_argument("--styles", default="", help="comma-separated; all of data/prompts if none is given")
    command.add_argument("--rewrites", type=int, default=2, help="of a passage, each in another style (K2: at most 2)")
    model = os.environ.get("K2_LLM_MODEL", "scripted")
    command.add_argument("--model", default=model, help='"scripted", a checkpoint directory, or a model of --base-url')
    url = os.environ.get("K2_LLM_BASE_URL", "")
    command.add_argument("--base-url", default=url, help="an OpenAI-compatible endpoint, such as that of `k2 serve`")
    command.add_argument("--cache", default="", metavar="DIR", help="keep replies there, and never ask for one twice")
    command.add_argument("--timeout", type=float, default=600.0, help="seconds of one request, retries included")
    command.add_argument("--seed", type=int, default=0)
    command.add_argument("--engine", choices=["local", "ray"], default="local")
    command.add_argument("--workers", type=int, default=2, help="of Ray, on this machine or RAY_ADDRESS's cluster")
    command.add_argument("--concurrency", type=int, default=16, help="requests in flight, of one worker")
    command.add_argument("--part-size", type=float, default=1.0, metavar="MB", help="of text in one shard")
    command.add_argument("--budget-tokens", type=float, default=float("inf"))
    command.add_argument("--budget-money", type=float, default=float("inf"), help="at --price READ,WRITTEN")
    command.add_argument("--price", default="0,0", metavar="READ,WRITTEN", help="of a million tokens")


def rephrase(options: argparse.Namespace) -> int:
    from tqdm.auto import tqdm

    from k2lib.llm.budget import Budget
    from k2lib.serving.open import Spoken
    from k2lib.synth.pipeline import rephrase_corpus
    from k2lib.synth.shards import settings

    styles = [name.strip() for name in options.styles.split(",") if name.strip()]
    model = Spoken(options.model, options.base_url, options.cache, options.timeout)
    budget = Budget(options.budget_tokens, options.budget_money, *_prices(options.price))
    manifest = rephrase_corpus(
        options.input,
        options.output,
        settings(styles, options.rewrites, options.seed, options.model),
        model,
        engine=options.engine,
        workers=options.workers,
        concurrency=options.concurrency,
        budget=budget,
        part_characters=round(options.part_size * 1e6),
        progress=lambda items, what, total: tqdm(items, desc=what, total=total, unit="part"),
    )
    for name in ("counts", "skipped", "spent"):
        for what, number in manifest[name].items():
            print(f"{number:>12,} {what}" if isinstance(number, int) else f"{number:>12.2f} {what}")
    return 0


def _prices(text: str) -> tuple[float, float]:
    try:
        read, written = (float(part) for part in text.split(","))
    except ValueError:
        raise ValueError(f"--price is {text!r}; give two numbers, READ,WRITTEN, such as 0.5,2") from None
    return read, written
