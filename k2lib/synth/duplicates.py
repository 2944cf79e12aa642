"""Texts that were met before, exactly or nearly: by hash, and by MinHash with banding, in a file, so that memory stays flat.

A text's shingles are the runs of 8 bytes of its words, in lower case and with single spaces; an eighth of them is kept, chosen by
their hash, so the same ones in every text. Two texts are near if their signatures agree in at least `NEAR` of the places, which
estimates the share of common shingles (Broder 1997). Texts that agree in a whole band of places are compared at all.
"""

import hashlib
import sqlite3
from collections.abc import Iterable
from pathlib import Path

import numpy as np

NEAR = 0.8
PLACES, BANDS = 128, 16  # at a likeness of 0.8 a pair shares a band in 95 of 100 cases, at 0.5 in 6
SHINGLE = 8  # bytes, which one unsigned number of 64 bits holds
KEPT_BITS = 3  # shingles whose hash ends in so many zeros are kept
CACHE = 64 << 10  # KiB of the file that stay in memory


class Seen:
    """The texts of one run, in the order in which they came. `path` is made anew."""

    def __init__(self, path: Path | str):
        Path(path).unlink(missing_ok=True)
        self._db = sqlite3.connect(path, isolation_level=None)
        for setting in (
            "journal_mode = OFF",
            "synchronous = OFF",
            f"cache_size = -{CACHE}",
            "locking_mode = EXCLUSIVE",
        ):
            self._db.execute(f"PRAGMA {setting}")
        self._db.execute("CREATE TABLE exact (hash INTEGER PRIMARY KEY)")
        self._db.execute("CREATE TABLE bands (hash INTEGER PRIMARY KEY, text INTEGER)")
        self._db.execute("CREATE TABLE signatures (text INTEGER PRIMARY KEY, places BLOB)")
        self._db.execute("BEGIN")  # of the whole run: one transaction a statement would take most of the time
        self._count = 0

    def duplicate(self, text: str) -> str:
        """ "exact" or "near" if such a text came before, else "", and the text is remembered."""
        words = " ".join(text.lower().split()).encode()
        digest = int.from_bytes(hashlib.blake2b(words, digest_size=8).digest(), "big", signed=True)
        if not self._db.execute("INSERT OR IGNORE INTO exact VALUES (?)", (digest,)).rowcount:
            return "exact"
        places = signature(words)
        keys = _bands(places)
        marks = ",".join(map(str, keys))
        found = self._db.execute(f"SELECT DISTINCT text FROM bands WHERE hash IN ({marks})").fetchall()
        if any(np.mean(places == earlier) >= NEAR for earlier in self._signatures(row[0] for row in found)):
            return "near"
        self._db.executemany("INSERT OR IGNORE INTO bands VALUES (?, ?)", [(key, self._count) for key in keys])
        self._db.execute("INSERT INTO signatures VALUES (?, ?)", (self._count, places.tobytes()))
        self._count += 1
        return ""

    def close(self) -> None:
        self._db.close()

    def _signatures(self, texts: Iterable[int]) -> Iterable[np.ndarray]:
        for text in texts:
            (places,) = self._db.execute("SELECT places FROM signatures WHERE text = ?", (text,)).fetchone()
            yield np.frombuffer(places, np.uint32)


def signature(words: bytes) -> np.ndarray:
    """[PLACES] uint32, the same for equal sets of shingles."""
    from rensa import RMinHash  # compiled; only those load it who look for duplicates

    hashes = _shingles(words)
    rows = RMinHash.digest_matrix_from_flat_token_hashes(hashes, [0, len(hashes)], PLACES, 0).to_rows()
    return np.array(rows[0], dtype=np.uint32)


def _shingles(words: bytes) -> np.ndarray:
    words = words.ljust(SHINGLE)
    runs = np.ndarray((len(words) - SHINGLE + 1,), "<u8", words, strides=(1,))
    hashes = runs * np.uint64(0x9E3779B97F4A7C15)  # mixed as splitmix64 does, so that kept ones are a fair draw
    hashes ^= hashes >> np.uint64(29)
    hashes *= np.uint64(0xBF58476D1CE4E5B9)
    kept = hashes[hashes >> np.uint64(64 - KEPT_BITS) == 0]
    return kept if len(kept) else hashes


def _bands(places: np.ndarray) -> list[int]:
    """One signed 64-bit number a band, which holds the band's place too."""
    rows = places.reshape(BANDS, -1)
    return [
        int.from_bytes(hashlib.blake2b(bytes([band]) + row.tobytes(), digest_size=8).digest(), "big", signed=True)
        for band, row in enumerate(rows)
    ]
