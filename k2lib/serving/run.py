"""Opens a checkpoint with the engine that fits it and serves it until it is stopped."""

import json
import socket
from pathlib import Path

import torch

from k2lib import machine
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


def serve(directory: Path, name: str, host: str, port: int, batch: int, key: str) -> None:
    """Serves until a signal ends it. RuntimeError if the web framework is missing; OSError for a port that is taken."""
    try:
        import uvicorn

        from k2lib.serving.app import application
    except ImportError as error:
        raise RuntimeError(f"k2 serve needs {error.name}: pip install 'k2lib[serve]'") from error
    torch.set_num_threads(machine.threads())
    listening = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((host, port))
    except OSError as error:
        raise OSError(f"{host}:{port} cannot be served ({error.strerror}); choose another --port") from None
    engine = open_engine(directory, name)
    at = f"http://{host}:{listening.getsockname()[1]}/v1"
    print(f"serving {engine.name} at {at}\nK2_LLM_BASE_URL={at} K2_LLM_MODEL={engine.name}", flush=True)
    config = uvicorn.Config(application(engine, batch=batch, key=key), log_level="warning")
    uvicorn.Server(config).run(sockets=[listening])
