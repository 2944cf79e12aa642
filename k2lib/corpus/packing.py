"""Token shards: documents joined by [EOS] into arrays on disk, with a manifest that is written last.

The manifest counts tokens and documents by kind, hashes every shard and names licences and the seed: a directory with a
manifest is complete. Batches are a function of (seed, step), so a run can resume anywhere.
"""

import hashlib
import json
import sys
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from k2lib.corpus.documents import Document
from k2lib.corpus.tokenizer import Tokenizer

HELDOUT_EVERY = 50  # one document in fifty never enters training
ENCODED_AT_ONCE = 1 << 21  # characters


def write_shards(
    documents: Iterable[Document], tokenizer: Tokenizer, directory: Path, shard_tokens: int, meta: dict
) -> dict:
    """Write `train-NNN.npy` and `heldout-NNN.npy` and, last, `manifest.json`, which is returned."""
    directory = Path(directory)
    directory.mkdir(parents=True, exist_ok=True)
    dtype = np.uint16 if tokenizer.vocab_size <= 1 << 16 else np.uint32
    writers = {split: _Writer(directory, split, dtype, shard_tokens) for split in ("train", "heldout")}
    counts: dict[str, Counter] = {}
    for number, (document, ids) in enumerate(_encoded(documents, tokenizer)):
        split = "heldout" if number % HELDOUT_EVERY == HELDOUT_EVERY - 1 else "train"
        writers[split].add([*ids, tokenizer.eos_id])
        counts.setdefault(document.kind, Counter()).update(
            documents=1, tokens=len(ids) + 1, bytes=len(document.text.encode()), **{f"{split}_tokens": len(ids) + 1}
        )
        counts[document.kind][f"licence {document.licence}"] += 1
    shards = [shard for writer in writers.values() for shard in writer.close()]
    if not any(shard["split"] == "train" for shard in shards):
        raise ValueError(f"the corpus for {directory} is empty; give it at least one document")
    manifest = {
        "vocab_size": tokenizer.vocab_size,
        "kinds": counts,
        "shards": shards,
        "python": ".".join(map(str, sys.version_info[:3])),
        **meta,
    }
    (directory / "manifest.json").write_text(json.dumps(manifest, indent=1), encoding="utf-8")
    return manifest


class PackedDataset:
    """Reads a shard directory. ValueError if a shard is missing or does not match its hash in the manifest."""

    def __init__(self, directory: Path | str):
        self.directory = Path(directory)
        path = self.directory / "manifest.json"
        if not path.exists():
            raise FileNotFoundError(
                f"{path} does not exist: the corpus is missing or was never finished; run notebook 01"
            )
        self.manifest = json.loads(path.read_text(encoding="utf-8"))
        self._tokens = {split: self._read(split) for split in ("train", "heldout")}

    def tokens(self, split: str = "train") -> Tensor:
        """All tokens of a split as one int64 array."""
        return torch.from_numpy(self._tokens[split].astype(np.int64))

    def batches(
        self, batch_size: int, seq_len: int, seed: int, start_step: int = 0, split: str = "train"
    ) -> Iterator[Tensor]:
        """[B, T + 1] int64, for ever: windows of the token stream in a seeded order, a new order every epoch."""
        stream = self._tokens[split]
        windows = (len(stream) - 1) // seq_len
        per_epoch = windows // batch_size
        if per_epoch < 1:
            raise ValueError(
                f"the {split} split has {len(stream)} tokens, fewer than one batch of {batch_size} x {seq_len}"
            )
        step = start_step
        while True:
            epoch, first = divmod(step, per_epoch)
            order = np.random.default_rng([seed, epoch]).permutation(windows)
            for at in range(first, per_epoch):
                rows = order[at * batch_size : (at + 1) * batch_size]
                yield torch.from_numpy(
                    np.stack([stream[r * seq_len : (r + 1) * seq_len + 1] for r in rows]).astype(np.int64)
                )
                step += 1

    def _read(self, split: str) -> np.ndarray:
        arrays = []
        for shard in self.manifest["shards"]:
            if shard["split"] == split:
                path = self.directory / shard["file"]
                if not path.exists() or _sha256(path) != shard["sha256"]:
                    raise ValueError(
                        f"{path} is missing or damaged (its hash differs from the manifest's); "
                        f"delete {self.directory.parent} and run notebook 01 again"
                    )
                arrays.append(np.load(path))
        return np.concatenate(arrays) if arrays else np.zeros(0, dtype=np.uint16)


class _Writer:
    def __init__(self, directory: Path, split: str, dtype: type, shard_tokens: int):
        self.directory, self.split, self.dtype, self.shard_tokens = directory, split, dtype, shard_tokens
        self.pending: list[int] = []
        self.shards: list[dict] = []

    def add(self, ids: list[int]) -> None:
        self.pending += ids
        while len(self.pending) >= self.shard_tokens:
            self._flush(self.shard_tokens)

    def close(self) -> list[dict]:
        if self.pending:
            self._flush(len(self.pending))
        return self.shards

    def _flush(self, count: int) -> None:
        path = self.directory / f"{self.split}-{len(self.shards):03d}.npy"
        np.save(path, np.array(self.pending[:count], dtype=self.dtype))
        del self.pending[:count]
        self.shards.append({"file": path.name, "split": self.split, "tokens": count, "sha256": _sha256(path)})


def _encoded(documents: Iterable[Document], tokenizer: Tokenizer) -> Iterator[tuple[Document, list[int]]]:
    pending: list[Document] = []
    size = 0
    for document in documents:
        pending.append(document)
        size += len(document.text)
        if size >= ENCODED_AT_ONCE:
            yield from zip(pending, tokenizer.encode_batch([d.text for d in pending]), strict=True)
            pending, size = [], 0
    yield from zip(pending, tokenizer.encode_batch([d.text for d in pending]), strict=True)


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
