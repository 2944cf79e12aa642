"""Multi-head latent attention (MLA): keys and values are rebuilt from one small latent per token (section 2.3).

Shapes: B batch, T time, H heads, D width, C latent width, R rotary width, N = nope width, V value width.
A query head is [nope N | rotary R]; a key head is [its own nope N | the rotary R shared by all heads]. Only the latent
and the shared rotary key need caching: C + R numbers a token, whatever the number of heads. Decoding never rebuilds the
keys: their up-projection is absorbed into the query (`_over_latents`).
"""

from typing import NamedTuple

import torch
from torch import Tensor, nn

from k2lib.config import K2Config
from k2lib.model.cache import LayerCache
from k2lib.model.causal import CausalAttention
from k2lib.model.norm import RMSNorm
from k2lib.model.regions import counts, named, region
from k2lib.model.rope import rotate

CHUNK = 64  # queries at a time; larger chunks waste work above the diagonal
LATENT_EPS = 1e-6  # of the two latent norms, whatever rms_norm_eps says: the released model's own


class QKPart(NamedTuple):
    """Rows of a projection that enter the attention logits: start…stop of each head in `weight` [heads * rows, in].

    To shrink the logits of a head by γ, QK-Clip multiplies its rows by γ ** exponent.
    """

    weight: nn.Parameter
    heads: int
    start: int
    stop: int
    exponent: float


class LatentAttention(nn.Module):
    def __init__(self, config: K2Config):
        super().__init__()
        self.config = config
        c, heads = config, config.num_attention_heads
        if c.q_lora_rank is None:
            self.q_proj = _linear(c.hidden_size, heads * c.qk_head_dim)
        else:
            self.q_a_proj = _linear(c.hidden_size, c.q_lora_rank)
            self.q_a_layernorm = RMSNorm(c.q_lora_rank, LATENT_EPS)
            self.q_b_proj = _linear(c.q_lora_rank, heads * c.qk_head_dim)
        self.kv_a_proj_with_mqa = _linear(c.hidden_size, c.kv_lora_rank + c.qk_rope_head_dim)
        self.kv_a_layernorm = RMSNorm(c.kv_lora_rank, LATENT_EPS)
        self.kv_b_proj = _linear(c.kv_lora_rank, heads * (c.qk_nope_head_dim + c.v_head_dim))
        self.o_proj = _linear(heads * c.v_head_dim, c.hidden_size)
        self.max_logits: Tensor | None = None  # [H] fp32, running maximum of training forwards until it is cleared

    def qk_parts(self) -> list[QKPart]:
        """What QK-Clip may scale: √γ on both nope parts, γ on the rotary query; its key belongs to all heads."""
        c, heads = self.config, self.config.num_attention_heads
        query = (self.q_proj if c.q_lora_rank is None else self.q_b_proj).weight
        return [
            QKPart(query, heads, 0, c.qk_nope_head_dim, 0.5),
            QKPart(query, heads, c.qk_nope_head_dim, c.qk_head_dim, 1.0),
            QKPart(self.kv_b_proj.weight, heads, 0, c.qk_nope_head_dim, 0.5),
        ]

    def forward(
        self, x: Tensor, cos: Tensor, sin: Tensor, cache: LayerCache | None = None, starts: Tensor | None = None
    ) -> Tensor:
        """x [B, T, D] -> [B, T, D]; with a cache, the T tokens follow what it holds and are added to it.

        cos, sin [T or B×T, R/2]; starts [B, T] is where each token's document begins, if several share a sequence.
        """
        query, (latent, rotary) = self._query_latent(x), self.latents(x, cos, sin)
        if cache is not None:
            entries = cache.append(latent, rotary)
            return self.o_proj(self._over_latents(*self._queries(query, cos, sin), entries, cache.visible))
        q, k, v = region("up-projection", self._up_project, query, latent, rotary, cos, sin)
        return self.o_proj(self._over_keys(q, k, v, x.shape[0], starts))

    def queries(self, x: Tensor, cos: Tensor, sin: Tensor) -> tuple[Tensor, Tensor]:
        """nope [B, T, H, N] and rotated [B, T, H, R] parts of the queries."""
        return self._queries(self._query_latent(x), cos, sin)

    def _query_latent(self, x: Tensor) -> Tensor:
        """What queries are projected up from: their normalised latent, or x itself where there is none."""
        return x if self.config.q_lora_rank is None else self.q_a_layernorm(named("latent", self.q_a_proj(x)))

    def _queries(self, query: Tensor, cos: Tensor, sin: Tensor) -> tuple[Tensor, Tensor]:
        c = self.config
        q = self.q_proj(query) if c.q_lora_rank is None else self.q_b_proj(query)
        nope, rotary = q.unflatten(-1, (c.num_attention_heads, c.qk_head_dim)).split(
            [c.qk_nope_head_dim, c.qk_rope_head_dim], dim=-1
        )
        return nope, rotate(rotary, cos.unsqueeze(-2), sin.unsqueeze(-2))

    def latents(self, x: Tensor, cos: Tensor, sin: Tensor) -> tuple[Tensor, Tensor]:
        """What is cached: the normalised latent [B, T, C] and the shared rotated key [B, T, R]."""
        latent, rotary = named("latent", self.kv_a_proj_with_mqa(x)).split(
            [self.config.kv_lora_rank, self.config.qk_rope_head_dim], dim=-1
        )
        return self.kv_a_layernorm(latent), named("latent", rotate(rotary, cos, sin))

    def _up_project(
        self, query: Tensor, latent: Tensor, k_rotary: Tensor, cos: Tensor, sin: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Queries and keys [B·H, T, N + R] and values [B·H, T, V] of all heads: large, and cheap to form again."""
        c, heads = self.config, self.config.num_attention_heads
        batch, length, _ = latent.shape
        q = torch.cat(self._queries(query, cos, sin), dim=-1)
        k_nope, v = self.kv_b_proj(latent).unflatten(-1, (heads, -1)).split([c.qk_nope_head_dim, c.v_head_dim], dim=-1)
        k = torch.cat((k_nope, k_rotary.unsqueeze(2).expand(-1, -1, heads, -1).to(k_nope.dtype)), dim=-1)
        return tuple(t.transpose(1, 2).reshape(batch * heads, length, -1) for t in (q, k, v))

    def _over_keys(self, q: Tensor, k: Tensor, v: Tensor, batch: int, starts: Tensor | None) -> Tensor:
        """[B, T, H·V] among the tokens themselves; the largest logits are remembered."""
        output, largest = CausalAttention.apply(q, k, v, self.config.softmax_scale, min(CHUNK, q.shape[1]), starts)
        if self.training and counts():
            self._remember(largest.view(batch, -1).amax(0))
        return region("copy", _merge_heads, output.unflatten(0, (batch, -1)))

    def _over_latents(self, q_nope: Tensor, q_rotary: Tensor, entries: Tensor, visible: Tensor) -> Tensor:
        """[B, T, H·V] over cached entries [B, L, C + R], of which visible [B, T, L] marks what each query may see.

        The key's up-projection moves to the query's side, the value's to the output's: scores and sums live in the
        latent space.
        """
        c, heads = self.config, self.config.num_attention_heads
        up = self.kv_b_proj.weight.to(q_nope.dtype).view(heads, c.qk_nope_head_dim + c.v_head_dim, c.kv_lora_rank)
        up_key, up_value = up.split([c.qk_nope_head_dim, c.v_head_dim], dim=1)
        q_latent = torch.einsum("bthn,hnc->bhtc", q_nope, up_key)
        query = torch.cat((q_latent, q_rotary.transpose(1, 2)), dim=-1).flatten(1, 2)  # [B, H·T, C + R]
        scores = (query @ entries.transpose(1, 2)).float().unflatten(1, (heads, -1)) * c.softmax_scale
        weights = scores.masked_fill_(~visible.unsqueeze(1), float("-inf")).softmax(-1).to(entries.dtype)
        mixed = (weights.flatten(1, 2) @ entries[..., : c.kv_lora_rank]).unflatten(1, (heads, -1))  # [B, H, T, C]
        return torch.einsum("bhtc,hvc->bthv", mixed, up_value).flatten(2)

    def _remember(self, largest: Tensor) -> None:
        largest = largest.detach()
        self.max_logits = largest if self.max_logits is None else torch.maximum(self.max_logits, largest)


def _merge_heads(x: Tensor) -> Tensor:  # [B, H, T, V] -> [B, T, H·V]
    return x.transpose(1, 2).flatten(2)


def _linear(inputs: int, outputs: int) -> nn.Linear:
    return nn.Linear(inputs, outputs, bias=False)
