"""Rewrites by a language model that nobody of the kit trained or scripted, where `k2 get smollm2` has brought it."""

import json
from pathlib import Path

from k2lib.llm import get
from k2lib.progress import Progress, silent
from k2lib.stages.stage import stage
from k2lib.synth import shards
from k2lib.synth.rephrase import Rephrasing, rephrase_all, run

MODEL = "SmolLM2-135M-Instruct"
TOGETHER = 12  # passages that are rewritten at once


def real_rewrites(wanted: list[tuple[str, str]], seed: int = 0, progress: Progress = silent) -> list[dict]:
    """A row for each (text, style), as `k2 rephrase` writes them. RuntimeError if the model is not there."""
    if not get.have("smollm2"):
        raise RuntimeError("the model is not here; run `k2 get smollm2`")

    def make(directory: Path) -> None:
        written = run(_written(wanted, seed, progress))
        rows = [shards.row(source, one) for (source, _), one in zip(wanted, written, strict=True)]
        (directory / "rows.json").write_text(json.dumps(rows), encoding="utf-8")

    made = stage("real-rewrites", {"wanted": wanted, "seed": seed, "model": MODEL}, make)
    return json.loads((made / "rows.json").read_text(encoding="utf-8"))


async def _written(wanted: list[tuple[str, str]], seed: int, progress: Progress) -> list[Rephrasing]:
    from k2lib.serving.checkpoint import open_engine
    from k2lib.serving.local import EngineChat  # needs transformers

    model, written = EngineChat(open_engine(get.path("smollm2"), MODEL), TOGETHER), []
    for at in progress(range(0, len(wanted), TOGETHER), f"{MODEL} rewrites", -(-len(wanted) // TOGETHER)):
        written += await rephrase_all(model, wanted[at : at + TOGETHER], seed=seed)
    model.close()
    return written
