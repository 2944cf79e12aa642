"""Which side of a split something falls on: by its hash, so that every seed and every run agrees.

"train" is learned from; "development" is what choices are made on; "test" is read by the runs whose results count.
"""

import hashlib
import json

SPLITS = ("train", "development", "test")
EIGHTH = 32  # of the 256 values of a hash's first byte: the share of development, and of test


def side(*key: object) -> str:
    """The split of whatever `key` (JSON) names: an equation, a wish."""
    first = _hash(key)[0]
    return "test" if first < EIGHTH else "development" if first < 2 * EIGHTH else "train"


def shared_out(every: list) -> dict[str, list]:
    """A whole list in the same shares, so that each split has its part of a short one, too; at least eight items."""
    order, eighth = sorted(every, key=_hash), len(every) // 8
    return {"test": order[:eighth], "development": order[eighth : 2 * eighth], "train": order[2 * eighth :]}


def check(split: str) -> str:
    """The split itself; ValueError for one that does not exist."""
    if split not in SPLITS:
        raise ValueError(f"unknown split {split!r}; choose one of {', '.join(SPLITS)}")
    return split


def _hash(key: object) -> bytes:
    return hashlib.sha256(json.dumps(key, sort_keys=True).encode()).digest()
