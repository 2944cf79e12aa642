"""Serves a checkpoint until it is stopped."""

import socket
from pathlib import Path

import torch

from k2lib import machine
from k2lib.serving.checkpoint import open_engine


def serve(
    directory: Path, name: str, *, host: str, port: int, batch: int, key: str, weights: Path | None = None
) -> None:
    """Serves until a signal ends it; other weights of the model may come from the folder `weights`.

    RuntimeError if the web framework is missing; OSError for a port that is taken.
    """
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
    config = uvicorn.Config(application(engine, batch=batch, key=key, weights=weights), log_level="warning")
    uvicorn.Server(config).run(sockets=[listening])
