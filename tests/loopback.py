"""`k2 serve` on loopback, in a thread of the test."""

import contextlib
import socket
import threading

import uvicorn
from waiting import until

from k2lib.serving.app import application


@contextlib.contextmanager
def served(engine, **options):
    """The base URL of an engine that is served."""
    config = uvicorn.Config(application(engine, **options), log_level="error")
    server, listening = uvicorn.Server(config), socket.socket()
    listening.bind(("127.0.0.1", 0))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
    thread.start()
    until(lambda: server.started, "the server")
    try:
        yield f"http://127.0.0.1:{listening.getsockname()[1]}/v1"
    finally:
        server.should_exit = True
        thread.join()
