"""The latent cache: C + R numbers a token and layer, whatever the number of heads (section 2.3).

Sequences of different lengths share it, each at its own position.
Shapes: A sequences, S new tokens, L entries in use, C latent width, R rotary width.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from k2lib.model.norm import compute_dtype


@dataclass
class LayerCache:
    """One layer's share while S new tokens pass through it."""

    entries: Tensor  # [A, room, C + R], latent then rotary key
    positions: Tensor  # [A, S] of the new tokens
    visible: Tensor  # [A, S, L] which entries each new token may see: its own and earlier ones

    def append(self, latent: Tensor, rotary: Tensor) -> Tensor:
        """Stores new entries, latent [A, S, C] and rotary [A, S, R]; returns all in use, [A, L, C + R]."""
        rows = torch.arange(self.positions.shape[0], device=self.positions.device)[:, None]
        self.entries[rows, self.positions] = torch.cat((latent, rotary), dim=-1).to(self.entries.dtype)
        return self.entries[:, : self.visible.shape[-1]]


class LatentCache:
    """What was read: per layer one tensor [A, room, C + R], of which `lengths` [A] entries are valid."""

    def __init__(self, model, batch: int, room: int):
        c, weight = model.config, model.embed_tokens.weight
        shape, dtype = (batch, room, c.kv_lora_rank + c.qk_rope_head_dim), compute_dtype(weight)
        self.layers = [weight.new_zeros(shape, dtype=dtype) for _ in range(c.num_hidden_layers)]
        self.lengths = torch.zeros(batch, dtype=torch.int64, device=weight.device)
        self.filled = 0  # L, at least the largest length: attention does not look at empty room

    @property
    def bytes_per_token(self) -> int:
        return sum(layer.shape[-1] * layer.element_size() for layer in self.layers)

    def select(self, rows: Tensor) -> None:
        """Keep, repeat or reorder sequences."""
        self.layers = [layer[rows] for layer in self.layers]
        self.lengths = self.lengths[rows]

    def advance(self, new: int) -> tuple[Tensor, list[LayerCache]]:
        """Makes room for S = `new` tokens of every sequence: their positions [A, S], and every layer's share."""
        positions = self.lengths[:, None] + torch.arange(new, device=self.lengths.device)
        self.lengths, self.filled = self.lengths + new, self.filled + new
        visible = torch.arange(self.filled, device=positions.device) <= positions[..., None]
        return positions, [LayerCache(entries, positions, visible) for entries in self.layers]
