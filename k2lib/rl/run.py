"""`k2 rl`: any checkpoint of K2's family, on a family of problems or a user's own; a killed run goes on."""

import hashlib
import json
import os
from dataclasses import asdict
from pathlib import Path

from k2lib import machine
from k2lib.corpus.tokenizer import Tokenizer
from k2lib.gym.play import play_on
from k2lib.gym.problem import Problem
from k2lib.model import K2Model
from k2lib.progress import Progress, silent
from k2lib.rl.remote import Endpoint, Remote
from k2lib.rl.trainer import RLResult, train_rl
from k2lib.sizes import RLSize
from k2lib.train import Snapshot, finetune, save_checkpoint

EVERY_SECONDS = 60.0  # between two snapshots
PTX_SEQUENCES, PTX_LENGTH = 2, 1024  # packed demonstrations in the auxiliary loss of an update


def reinforce(
    source: Path,
    problems: list[Problem],
    heldout: list[Problem],
    output: Path,
    size: RLSize,
    *,
    rows: list[dict] | None = None,
    base_url: str = "",
    seed: int = 0,
    progress: Progress = silent,
) -> RLResult:
    """Trains the checkpoint `source` on problems and writes `output`; its training.json holds what is returned.

    `rows` are conversations, as `k2 sft` reads them, for the PTX loss. At `base_url` an endpoint plays the iterations, with the
    weights that it takes before each of them from beside the output (`k2 serve --takes-weights`). The same call goes on where a
    killed one stopped; its state lies beside the output until then. ValueError for fewer problems than the development split and
    one iteration need; ChatError for an endpoint that does not answer at the start.
    """
    if len(problems) < size.development + size.prompts:
        raise ValueError(
            f"{len(problems)} problems are fewer than {size.development} of the development split and {size.prompts} of an "
            "iteration; give more, or ask for less"
        )
    model, tokenizer = K2Model.from_pretrained(source, device=machine.device()), Tokenizer.load(source)
    ptx = None
    if rows:
        encoded, _ = finetune.encode_rows(rows, tokenizer, PTX_LENGTH)
        ptx = finetune.batches(encoded, PTX_SEQUENCES, PTX_LENGTH, tokenizer.pad_id, seed)
    snapshot = Snapshot(
        output.with_name(f".{output.name}.{_key(source, problems, size, rows, seed)}.pt"), EVERY_SECONDS
    )
    player = play_on
    if base_url:
        key, positions = os.environ.get("K2_LLM_API_KEY") or "none", model.config.max_position_embeddings
        player = Remote(Endpoint.at(base_url, tokenizer, positions, api_key=key), output.parent)
    how = {"seed": seed, "progress": progress, "snapshot": snapshot, "player": player}
    result = train_rl(model, tokenizer, problems, heldout, ptx, size, **how)
    told = {"stage": "rl", "seed": seed, "size": asdict(size), "kinds": [one.kind for one in heldout]}
    save_checkpoint(output, model, tokenizer, told | asdict(result))
    snapshot.path.unlink(missing_ok=True)
    return result


def _key(source: Path, problems: list[Problem], size: RLSize, rows: list[dict] | None, seed: int) -> str:
    """Of all that the run depends on, so that another run's state is never taken up."""
    asked = [[one.kind, one.messages] for one in problems]
    digest = hashlib.sha256(json.dumps([asdict(size), asked, rows or [], seed], sort_keys=True, default=str).encode())
    for file in sorted(source.glob("*.safetensors")):
        with file.open("rb") as handle:
            digest.update(hashlib.file_digest(handle, "sha256").digest())
    return digest.hexdigest()[:12]
