"""A checkpoint is a directory in the released layout: config, safetensors, tokenizer, chat template, and `training.json`.

The same directory loads in k2lib, in transformers and in the kit's own server, which is why no stage has a format of its
own. It is written under a temporary name and renamed, so that a directory of this name is always whole.
"""

import json
import os
import shutil
from dataclasses import dataclass
from pathlib import Path

from k2lib import machine
from k2lib.corpus.tokenizer import Tokenizer
from k2lib.llm import template
from k2lib.model import K2Model


@dataclass(frozen=True)
class Checkpoint:
    model: K2Model
    tokenizer: Tokenizer
    training: dict  # what made it: stage, steps, history, seed
    dir: Path


def save_checkpoint(directory: Path | str, model: K2Model, tokenizer: Tokenizer, training: dict) -> Path:
    """Write model, tokenizer and the record of the training; replaces a checkpoint of that name only when all is on disk."""
    directory = Path(directory)
    directory.parent.mkdir(parents=True, exist_ok=True)
    temporary = directory.with_name(f".{directory.name}.{os.getpid()}.tmp")
    shutil.rmtree(temporary, ignore_errors=True)
    model.save_pretrained(temporary)
    tokenizer.save(temporary)
    template.save(temporary, tokenizer, model.config.max_position_embeddings)
    (temporary / "training.json").write_text(json.dumps(training), encoding="utf-8")
    shutil.rmtree(directory, ignore_errors=True)
    temporary.rename(directory)
    return directory


def load_checkpoint(directory: Path | str) -> Checkpoint:
    """Read what `save_checkpoint` wrote, the model onto this machine's device.

    FileNotFoundError or ValueError name the file that is missing or damaged.
    """
    directory = Path(directory)
    record = directory / "training.json"
    if not record.exists():
        raise FileNotFoundError(
            f"{directory} is not a checkpoint of this kit: {record.name} is missing; "
            "run the notebook that trains it, or K2Model.from_pretrained for a released one"
        )
    try:
        training = json.loads(record.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise ValueError(
            f"{record} is not valid JSON ({error}); delete {directory} and run its notebook again"
        ) from None
    return Checkpoint(
        K2Model.from_pretrained(directory, device=machine.device()), Tokenizer.load(directory), training, directory
    )
