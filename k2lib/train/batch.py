"""What one optimisation step reads: tokens, the tokens that follow them, and which of those count."""

from typing import NamedTuple

import torch
from torch import Tensor


class Batch(NamedTuple):
    tokens: Tensor  # [B, T] int64
    targets: Tensor  # [B, T] int64, already shifted: targets[:, t] follows tokens[:, t]
    weights: Tensor | None = None  # [B, T] float; None means that every target counts
    starts: Tensor | None = None  # [B, T] int64, where each token's document begins; None: one document a sequence

    @classmethod
    def from_sequences(cls, sequences: Tensor) -> "Batch":
        """sequences [B, T + 1] -> a batch in which every token predicts the next."""
        return cls(sequences[:, :-1].contiguous(), sequences[:, 1:].contiguous())

    @classmethod
    def from_ragged(cls, rows: list[tuple[list[int], list[bool]]], pad: int, multiple: int = 32) -> "Batch":
        """Rows of (token ids, trained mask), right-padded with `pad` to a common length that is a multiple of `multiple`.

        A target has weight 1 where its own token is trained (SFT: what the assistant says) and 0 elsewhere. Attention is
        causal, so right padding changes no kept position.
        """
        longest = max(len(ids) for ids, _ in rows) - 1
        width = -(-longest // multiple) * multiple
        tokens = torch.full((len(rows), width), pad, dtype=torch.int64)
        targets = torch.full((len(rows), width), pad, dtype=torch.int64)
        weights = torch.zeros(len(rows), width)
        for i, (ids, trained) in enumerate(rows):
            n = len(ids) - 1
            tokens[i, :n] = torch.tensor(ids[:-1])
            targets[i, :n] = torch.tensor(ids[1:])
            weights[i, :n] = torch.tensor(trained[1:], dtype=torch.float32)
        return cls(tokens, targets, weights)

    @classmethod
    def from_packed(cls, sequences: list[list[tuple[list[int], list[bool]]]], seq_len: int, pad: int) -> "Batch":
        """Several rows of (token ids, trained mask) in each sequence of `seq_len` tokens, one after another, none seeing another.

        No row predicts the next one's first token; what is left of a sequence is filled with `pad` and counts for nothing.
        """
        shape = (len(sequences), seq_len)
        tokens, targets = (torch.full(shape, pad, dtype=torch.int64) for _ in range(2))
        weights, starts = torch.zeros(shape), torch.zeros(shape, dtype=torch.int64)
        for i, rows in enumerate(sequences):
            at = 0
            for ids, trained in rows:
                end = at + len(ids) - 1
                tokens[i, at:end], targets[i, at:end] = torch.tensor(ids[:-1]), torch.tensor(ids[1:])
                weights[i, at:end] = torch.tensor(trained[1:], dtype=torch.float32)
                starts[i, at:end] = at
                at = end
            starts[i, at:] = min(at, seq_len - 1)
        return cls(tokens, targets, weights, starts)

    def to(self, device: torch.device | str) -> "Batch":
        return Batch(*(t if t is None else t.to(device) for t in self))
