"""Opens a checkpoint with the engine that fits it."""

import json
from pathlib import Path

from k2lib.config.checks import MODEL_TYPES
from k2lib.serving.engine import Engine, K2Engine


def open_engine(directory: Path | str, name: str = "") -> Engine:
    """Our engine for models of K2's family, that of transformers for any other. FileNotFoundError or ValueError say why not."""
    directory = Path(directory)
    path = directory / "config.json"
    if not path.is_file():
        raise FileNotFoundError(
            f"{path} does not exist; give the directory of a checkpoint, or bring a model with `k2 get`"
        )
    try:
        kind = json.loads(path.read_text(encoding="utf-8")).get("model_type")
    except (ValueError, AttributeError) as error:
        raise ValueError(f"{path} is no config of a model ({error}); restore it") from None
    name = name or directory.resolve().name
    if kind in MODEL_TYPES:
        return K2Engine(directory, name)
    from k2lib.serving.foreign import TransformersEngine

    return TransformersEngine(directory, name)
