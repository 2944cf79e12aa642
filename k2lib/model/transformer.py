"""`K2Model`: embedding, layers of latent attention and dense or sparse feed-forward, norm, head (section 2.3).

Parameters are fp32 masters; under `torch.autocast` the matrix products run in bf16. Names inside follow the released
checkpoint's, except that experts are stacked; `k2lib.model.hf` alone knows the layout on disk.
"""

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

from k2lib import machine
from k2lib.config import K2Config
from k2lib.model import hf
from k2lib.model.attention import LatentAttention
from k2lib.model.cache import LatentCache, LayerCache
from k2lib.model.generate import sample, unpadded
from k2lib.model.loss import cross_entropy
from k2lib.model.moe import MLP, Experts, MoE, Router
from k2lib.model.norm import RMSNorm, compute_dtype
from k2lib.model.regions import named, region
from k2lib.model.rope import inverse_frequencies, rotation


class Layer(nn.Module):
    def __init__(self, config: K2Config, index: int):
        super().__init__()
        self.input_layernorm = RMSNorm(config.hidden_size, config.rms_norm_eps)
        self.self_attn = LatentAttention(config)
        self.post_attention_layernorm = RMSNorm(config.hidden_size, config.rms_norm_eps)
        self.mlp = MoE(config) if config.is_moe(index) else MLP(config.hidden_size, config.intermediate_size)

    def forward(
        self, x: Tensor, cos: Tensor, sin: Tensor, cache: LayerCache | None = None, starts: Tensor | None = None
    ) -> Tensor:  # [B, T, D]
        x = x + self.self_attn(self.input_layernorm(x), cos, sin, cache, starts)
        return x + self.mlp(self.post_attention_layernorm(named("residual", x)))


class K2Model(nn.Module):
    def __init__(self, config: K2Config):
        super().__init__()
        self.config = config
        self.embed_tokens = nn.Embedding(config.vocab_size, config.hidden_size)
        self.layers = nn.ModuleList(Layer(config, index) for index in range(config.num_hidden_layers))
        self.norm = RMSNorm(config.hidden_size, config.rms_norm_eps)
        self.lm_head = nn.Linear(config.hidden_size, config.vocab_size, bias=False)
        self.register_buffer("frequencies", inverse_frequencies(config), persistent=False)
        self.apply(self._initialise)

    def hidden(self, tokens: Tensor, cache: LatentCache | None = None, starts: Tensor | None = None) -> Tensor:
        """The last hidden state [B, T, D], normalised, of tokens [B, T]; with a cache they follow what it holds.

        starts [B, T] int64 is where each token's document begins, if several share a sequence: none sees another.

        A pipeline's stage may lack the embedding, the norm and the head: then hidden states go in or come out.
        """
        length = tokens.shape[1]
        positions, caches = torch.arange(length, device=tokens.device), [None] * len(self.layers)
        if cache is not None:
            positions, caches = cache.advance(length)
        cos, sin = named("angles", *rotation(self.config, self.frequencies, positions))
        x = tokens if self.embed_tokens is None else self.embed_tokens(tokens)
        for layer, layer_cache in zip(self.layers, caches, strict=True):
            x = region("layer", layer, named("residual", x), cos, sin, layer_cache, starts)
        return x if self.norm is None else self.norm(named("residual", x))

    def forward(self, tokens: Tensor) -> Tensor:
        """Logits [B, T, V] of the token after each of tokens [B, T]."""
        hidden = self.hidden(tokens)
        return hidden if self.lm_head is None else self.lm_head(hidden)

    def loss(
        self, tokens: Tensor, targets: Tensor, weights: Tensor | None = None, starts: Tensor | None = None
    ) -> Tensor:
        """Mean cross-entropy in nats over the targets [B, T] (shifted by the caller), weighted by weights [B, T].

        starts [B, T] as in `hidden`.
        """
        hidden = self.hidden(tokens, starts=starts)
        return cross_entropy(
            region("copy", Tensor.to, hidden, compute_dtype(hidden)), self.lm_head.weight, targets, weights
        )

    def token_logprobs(self, tokens: Tensor, wanted: Tensor | None = None) -> Tensor:
        """log p(tokens[:, t + 1] | tokens[:, : t + 1]) as [B, T] fp32 for tokens [B, T + 1]; differentiable.

        `wanted` [B, T] bool computes only those and leaves 0 elsewhere: for a short answer to a long prompt the head
        would be the largest product.
        """
        hidden, targets = self.hidden(tokens[:, :-1]), tokens[:, 1:]
        wanted = torch.ones_like(targets, dtype=torch.bool) if wanted is None else wanted
        log_p = self.lm_head(hidden[wanted]).float().log_softmax(-1)
        values = log_p.gather(-1, targets[wanted].unsqueeze(-1)).squeeze(-1)
        return torch.zeros(targets.shape, device=tokens.device).masked_scatter(wanted, values)

    def generate(
        self,
        tokens: Tensor,
        max_new_tokens: int,
        temperature: float = 0.0,
        top_p: float = 1.0,
        seed: int = 0,
        *,
        eos_token_id: int | Sequence[int] = (),
        stop: Sequence[Sequence[int]] = (),
        pad_token_id: int = 0,
        attention_mask: Tensor | None = None,
    ) -> Tensor:
        """tokens [B, T] continued to [B, T + N], N ≤ max_new_tokens; temperature 0 takes the likeliest token.

        A row ends with one of `eos_token_id` or with one of the sequences of ids `stop`, which it keeps, and is filled with
        `pad_token_id`. `attention_mask` [B, T] is 0 where a prompt is padded, which must be on its left. ValueError for a
        mask with other holes, and as `sample` does.
        """
        ends = (eos_token_id,) if isinstance(eos_token_id, int) else tuple(eos_token_id)
        how = {"temperature": temperature, "top_p": top_p, "seed": seed, "stop_tokens": ends, "stop": stop}
        done = sample(self, unpadded(tokens, attention_mask), max_new_tokens=max_new_tokens, **how)
        longest = max(len(c.tokens) for c in done)
        new = [c.tokens + [pad_token_id] * (longest - len(c.tokens)) for c in done]
        return torch.cat((tokens, torch.tensor(new, device=tokens.device)), dim=1)

    def save_pretrained(self, directory: Path | str, max_shard_bytes: int = 5_000_000_000) -> None:
        """Write config.json and safetensors in the released layout, whole or not at all."""
        hf.save(self, Path(directory), max_shard_bytes)

    @classmethod
    def from_pretrained(
        cls, directory: Path | str, dtype: torch.dtype = torch.float32, device: torch.device | str = machine.HOST
    ) -> "K2Model":
        """Read a checkpoint in the released layout; ValueError lists missing, extra and misshapen tensors."""
        return hf.load(cls, Path(directory), dtype, device)

    def _initialise(self, module: nn.Module) -> None:
        std = self.config.initializer_range
        if isinstance(module, nn.Linear | nn.Embedding | Router):
            nn.init.normal_(module.weight, std=std)
        elif isinstance(module, Experts):
            nn.init.normal_(module.gate_up_proj, std=std)
            nn.init.normal_(module.down_proj, std=std)
