"""Kimi K2 (arXiv 2507.20534), reproduced in parts that can be seen, checked and reused.

`K2Config` says what a K2 is and `K2Model` builds it; both are loaded on first use, so that
`from k2lib.optim import MuonClip` or the command line do not pay for the rest.
"""

import os

# Threads that wait must sleep: spinning ones starve their neighbours on busy cores. Read once, when PyTorch loads.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

__version__ = "0.1.0"
__all__ = ["K2Config", "K2Model"]


def __getattr__(name: str):
    if name == "K2Config":
        from k2lib.config import K2Config

        return K2Config
    if name == "K2Model":
        from k2lib.model import K2Model

        return K2Model
    raise AttributeError(f"module 'k2lib' has no attribute {name!r}")
