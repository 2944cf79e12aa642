"""QK-Clip for models that were not written for it: whatever attends by `scaled_dot_product_attention`, or is PyTorch's own.

Nothing goes by name. One forward pass of an example shows where queries and keys come from: autograd's graph leads from them to
the weights, and the gradient of one head to that head's rows, whether projections are separate, fused, interleaved,
transposed, of keys that a group of heads shares, or latent attention's. A norm on the way would undo every clip, so such a
model is refused. Afterwards hooks on each attention module take the largest logit of every head, masked and scaled, from
chunks of queries: no T×T tensor, one more product of queries and keys a forward pass.
"""

from collections.abc import Callable, Mapping

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from k2lib.model.attention import QKPart
from k2lib.optim.rescale import is_sharded
from k2lib.optim.trace import CannotClip, Rows, rows_of

CHUNK = 256  # queries whose logits exist at once
SEEN = 4  # tokens of the example that stands in where none is given


def watch(model: nn.Module, example: object = None) -> "dict[str, nn.Module | Watched]":
    """{name: module} of all attention of `model`: those that know QK-Clip themselves, and the others watched by hooks.

    `example` is what the model is called with, a tensor, a tuple, or a dict of arguments; a few tokens by themselves where the
    model has `get_input_embeddings`, as those of Hugging Face. ValueError, with the reason, if some attention cannot be clipped,
    or none is found.
    """
    found: dict[str, nn.Module | Watched] = {n: m for n, m in model.named_modules() if hasattr(m, "qk_parts")}
    owners = {id(p): (module, own) for module in model.modules() for own, p in module.named_parameters(recurse=False)}
    own = {name: m for name, m in model.named_modules() if isinstance(m, nn.MultiheadAttention)}
    rows = {name: (m, _own_of_pytorch(name, m)) for name, m in own.items()}
    if example is not None:
        rows |= _traced(model, example)
    elif hasattr(model, "get_input_embeddings"):
        tokens = torch.arange(SEEN, device=next(model.parameters()).device)[None]
        try:
            rows |= _traced(model, tokens)
        except (TypeError, AttributeError, RuntimeError) as error:
            say = "give an example of what it is called with"
            raise CannotClip(f"the model cannot be called with token ids alone ({str(error)[:120]}); {say}") from error
    found |= {name: Watched(name, module, these, owners) for name, (module, these) in rows.items()}
    if not found:
        raise CannotClip(
            "no attention was found: it must call scaled_dot_product_attention (for a Hugging Face model, load it with "
            "attn_implementation='sdpa'); give an example to call the model with, if it needs one"
        )
    return found


def _own_of_pytorch(name: str, module: nn.MultiheadAttention) -> list[Rows]:
    if module.bias_k is not None or module.add_zero_attn:
        raise CannotClip(f"{name}: a bias or a zero is added to its keys, which no scaling of weights reaches")
    heads, size = module.num_heads, module.head_dim
    width, parts = heads * size, []
    for place, own in enumerate((module.q_proj_weight, module.k_proj_weight)):
        weight, first = (own, 0) if own is not None else (module.in_proj_weight, place * width)
        parts.append(Rows(weight, heads, first, size, size, 0.5))
        if module.in_proj_bias is not None:
            parts.append(Rows(module.in_proj_bias, heads, place * width, size, size, 0.5))
    return parts


def _traced(model: nn.Module, example: object) -> dict[str, tuple[nn.Module, list[Rows]]]:
    """What a forward pass of the example shows, in evaluation mode, so that nothing is dropped or checkpointed."""
    trained, found, running = [m for m in model.modules() if m.training], {}, []
    names = {module: name for name, module in model.named_modules()}
    hooks = []

    def enter(module: nn.Module, _) -> None:
        running.append(module)

    def leave(*_) -> None:
        running.pop()

    for module in model.modules():
        hooks += [module.register_forward_pre_hook(enter), module.register_forward_hook(leave, always_call=True)]

    def see(q: Tensor, k: Tensor) -> None:
        module = running[-1] if running else model
        found[names[module]] = module, rows_of(names[module] or "the model", q, k)

    try:
        model.eval()
        with torch.enable_grad(), _Tracing(see):
            if isinstance(example, Mapping):
                model(**example)
            else:
                model(*(example if isinstance(example, tuple) else (example,)))
    finally:
        for hook in hooks:
            hook.remove()
        for module in trained:
            module.training = True
    return found


class _Tracing(TorchFunctionMode):
    """Shows the queries and keys of every call of `scaled_dot_product_attention` to `see`."""

    def __init__(self, see: Callable[[Tensor, Tensor], None]):
        super().__init__()
        self.see = see

    def __torch_function__(self, function, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        if function is F.scaled_dot_product_attention:
            self.see(*_queries_and_keys(*args, **kwargs)[:2])
        return function(*args, **kwargs)


class Watched:
    """One attention module with what QK-Clip asks of it: `max_logits` and `qk_parts()`."""

    def __init__(self, name: str, module: nn.Module, rows: list[Rows], owners: dict[int, tuple[nn.Module, str]]):
        self.name, self.module = name, module
        self.rows = [(*owners[id(one.parameter)], one) for one in rows]  # by owner: wrappers exchange parameters
        self.max_logits: Tensor | None = None  # [H] fp32, of training forwards since it was cleared
        self._mode: _Watch | None = None
        self._hooks = [
            module.register_forward_pre_hook(self._enter),
            module.register_forward_hook(self._leave, always_call=True),
        ]

    def qk_parts(self) -> list[QKPart]:
        """CannotClip if the parameters have been sharded since."""
        parameters = [getattr(owner, own) for owner, own, _ in self.rows]
        if any(is_sharded(parameter) for parameter in parameters):
            raise CannotClip(
                f"{self.name}: its parameters are sharded (DTensor), which QK-Clip supports for K2Model only; use DDP"
            )
        return [one.part(parameter) for parameter, (_, _, one) in zip(parameters, self.rows, strict=True)]

    def remember(self, largest: Tensor) -> None:
        self.max_logits = largest if self.max_logits is None else torch.maximum(self.max_logits, largest)

    def remove(self) -> None:
        """Takes the hooks off."""
        for hook in self._hooks:
            hook.remove()

    def _enter(self, *_) -> None:
        if self.module.training and self._mode is None:
            self._mode = _Watch(self.remember)
            self._mode.__enter__()

    def _leave(self, *_) -> None:
        if self._mode is not None:
            self._mode.__exit__(None, None, None)
            self._mode = None


class _Watch(TorchFunctionMode):
    """Tells `see` the largest logits [H] of every attention that is computed inside."""

    def __init__(self, see: Callable[[Tensor], None]):
        super().__init__()
        self.see = see

    def __torch_function__(self, function, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        if function is F.scaled_dot_product_attention:
            self.see(largest_logits(*_queries_and_keys(*args, **kwargs)))
        elif function is F.multi_head_attention_forward:
            self.see(largest_logits(*_projected(*args, **kwargs)))
        return function(*args, **kwargs)


@torch.no_grad()
def largest_logits(q: Tensor, k: Tensor, scale: float, causal: bool, mask: Tensor | None) -> Tensor:
    """[H] fp32 largest scaled and masked logits of q [..., H, T, d] and k [..., K, S, d], K dividing H.

    `mask` [..., T, S], of bool (False hides) or added. Memory: CHUNK × S logits a head.
    """
    heads, length = q.shape[-3], q.shape[-2]
    k = k.repeat_interleave(heads // k.shape[-3], dim=-3) if k.shape[-3] != heads else k
    largest = q.new_full((heads,), -torch.inf, dtype=torch.float32)
    for start in range(0, length, CHUNK):
        end = min(start + CHUNK, length)
        width = min(end, k.shape[-2]) if causal else k.shape[-2]  # keys beyond the chunk are hidden from all of it
        logits = (q[..., start:end, :] @ k[..., :width, :].transpose(-2, -1)).float() * scale
        if causal:
            hidden = torch.ones(end - start, width, dtype=torch.bool, device=q.device).triu(start + 1)
            logits = logits.masked_fill(hidden, -torch.inf)
        if mask is not None:
            rows = (mask[..., start:end, :] if mask.shape[-2] > 1 else mask)[..., :width]
            logits = logits.masked_fill(~rows, -torch.inf) if rows.dtype == torch.bool else logits + rows
        largest = torch.maximum(largest, logits.flatten(-2).amax(-1).view(-1, heads).amax(0))
    return largest


def _queries_and_keys(q, k, v, attn_mask=None, dropout_p=0.0, is_causal=False, scale=None, enable_gqa=False) -> tuple:
    return q, k, q.shape[-1] ** -0.5 if scale is None else scale, is_causal, attn_mask


def _projected(query, key, value, width, heads, in_weight, in_bias, *_, **settings) -> tuple:
    """What `multi_head_attention_forward` forms of query [T, B, D] and key [S, B, D] before it attends."""
    if settings.get("use_separate_proj_weight"):
        weights = settings["q_proj_weight"], settings["k_proj_weight"]
    else:
        weights = in_weight.chunk(3)[:2]
    biases = (None, None) if in_bias is None else in_bias.chunk(3)[:2]
    q, k = (
        F.linear(x, w, b).unflatten(-1, (heads, -1)).movedim(-2, 0)  # [H, T, (B,) d]
        for x, w, b in zip((query, key), weights, biases, strict=True)
    )
    q, k = (x.movedim(2, 0) if x.ndim == 4 else x for x in (q, k))  # [B, H, T, d]
    mask = _added(settings.get("attn_mask"))
    if mask is not None and mask.ndim == 3:
        mask = mask.unflatten(0, (-1, heads))
    padding = _added(settings.get("key_padding_mask"))
    if padding is not None:
        padding = padding[..., None, None, :]
        mask = padding if mask is None else mask + padding
    return q, k, q.shape[-1] ** -0.5, False, mask


def _added(mask: Tensor | None) -> Tensor | None:
    """A mask of `nn.MultiheadAttention`, where True hides, as numbers that are added."""
    if mask is None or mask.dtype != torch.bool:
        return mask
    return torch.zeros_like(mask, dtype=torch.float32).masked_fill(mask, -torch.inf)
