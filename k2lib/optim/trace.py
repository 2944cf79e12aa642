"""Which rows of which weights a head's queries and keys come from: read off autograd's graph and a few gradients.

From the queries that reach an attention, the graph leads back to the first product with a parameter. The gradient of one head,
in a random direction, is then nonzero in that head's rows alone. Dimensions that all heads take from one place, as the rotary key
of latent attention, are told from those that each has of its own.
"""

import itertools
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from k2lib.model.attention import QKPart

_PRODUCTS = ("MmBackward", "AddmmBackward", "BmmBackward", "LinearBackward", "BaddbmmBackward")
_PASSIVE = ("TBackward", "TransposeBackward", "ToCopyBackward", "ViewBackward", "UnsqueezeBackward", "ExpandBackward")
_NORMS = ("NormBackward", "RsqrtBackward", "LinalgVectorNormBackward", "LayerNormBackward")


class CannotClip(ValueError):
    """An attention whose logits cannot be scaled by scaling rows of weights; the message says why."""


@dataclass(frozen=True)
class Rows:
    """Rows of a parameter (or columns, if `transposed`): of head h those from first + h·stride, `count` of them."""

    parameter: nn.Parameter
    heads: int
    first: int
    stride: int
    count: int
    exponent: float
    transposed: bool = False

    def part(self, parameter: Tensor) -> QKPart:
        """These rows as a view of `parameter`, what the one that was traced is now."""
        data = parameter.detach()
        data = data.t() if self.transposed else data
        begin = min(self.first, len(data) - self.heads * self.stride)
        start = self.first - begin
        return QKPart(
            data[begin : begin + self.heads * self.stride], self.heads, start, start + self.count, self.exponent
        )


def rows_of(name: str, q: Tensor, k: Tensor) -> list[Rows]:
    """Where the logits of q [B, H, T, d] and k [B, K, T, d] come from, with the power of γ that each takes.

    CannotClip, naming the module `name`, if a norm or something else than one product lies between, or heads share queries.
    """
    queries, keys = _sources(name, "queries", q), _sources(name, "keys", k)
    if len(queries) != 1:
        raise CannotClip(f"{name}: queries come from {len(queries)} products; only one can be scaled")
    shared = _shared_dimensions(k, keys)
    own = [i for i in range(q.shape[-1]) if i not in shared]
    _require_scaling(name, "queries", q, queries, list(range(q.shape[-1])))
    _require_scaling(name, "keys", k, keys, own)
    if shared:  # latent attention: what the heads share stays, so the queries that meet it carry all of γ
        parts = _rows(name, q, queries, own, 0.5) + _rows(name, q, queries, sorted(shared), 1.0)
    else:
        parts = _rows(name, q, queries, own, 0.5)
    return parts + _rows(name, k, keys, own, 0.5)


def _sources(name: str, what: str, tensor: Tensor) -> list[list[nn.Parameter]]:
    """The parameters (weight, and bias if any) of each product that `tensor` comes from. CannotClip for a norm on the way."""
    found, seen, waiting = [], set(), [tensor.grad_fn]
    while waiting:
        node = waiting.pop()
        if node is None or node in seen:
            continue
        seen.add(node)
        kind = type(node).__name__
        if any(norm in kind for norm in _NORMS):
            raise CannotClip(
                f"{name}: its {what} are normalised after their projection, which undoes any scaling of weights"
            )
        if any(kind.startswith(product) for product in _PRODUCTS):
            leaves = [leaf for leaf in map(_leaf, (n for n, _ in node.next_functions)) if leaf is not None]
            if leaves and not any(leaves[-1] is known[-1] for known in found):
                found.append(leaves)
            continue
        waiting += [following for following, _ in node.next_functions]
    if not found:
        raise CannotClip(f"{name}: its {what} come from no product with a parameter, such as nn.Linear")
    return found


def _require_scaling(name: str, what: str, tensor: Tensor, sources: list, dimensions: list[int]) -> None:
    """CannotClip unless these dimensions grow as the parameters do: by Euler, ⟨∂f/∂W, W⟩ = f for what is of degree one in W."""
    parameters, close = [p for source in sources for p in source], 1e-3 if tensor.dtype == torch.float32 else 3e-2
    for head in range(tensor.shape[1]):
        values = tensor[:, head][..., dimensions]
        terms = [(_gradient(values, p, head) * p).detach() for p in parameters]
        found, size = sum(t.sum() for t in terms), sum(t.abs().sum() for t in terms)
        if abs(found - (values * _direction(values, head)).sum()) > close * size:
            why = "something is added to them afterwards, or a function bends them"
            raise CannotClip(f"{name}: its {what} do not grow as the weights that they come from ({why})")


def _leaf(node) -> nn.Parameter | None:
    """The parameter behind casts and transpositions; None for an activation."""
    for _ in range(5):
        if node is None:
            return None
        if type(node).__name__ == "AccumulateGrad":
            return node.variable
        if not type(node).__name__.startswith(_PASSIVE):
            return None
        node = node.next_functions[0][0]
    return None


def _rows(name: str, tensor: Tensor, sources: list, dimensions: list[int], exponent: float) -> list[Rows]:
    """The rows of all parameters that reach these dimensions of `tensor`, head by head."""
    parts = []
    for parameter in (parameter for source in sources for parameter in source):
        by_head = _reached(tensor, parameter, dimensions)
        if any(rows for rows, _ in by_head):
            parts.append(_regular(name, parameter, by_head, exponent))
    return parts


def _reached(tensor: Tensor, parameter: nn.Parameter, dimensions: list[int]) -> list[tuple[list[int], list[int]]]:
    """Of each head the rows and the columns of a parameter that reach its `dimensions`: where its gradient is not zero."""
    found = []
    for head in range(tensor.shape[1]):
        size = _gradient(tensor[:, head][..., dimensions], parameter, head).abs()
        flat = size.unsqueeze(1) if size.ndim == 1 else size
        found.append(tuple(flat.sum(1 - dim).nonzero().flatten().tolist() for dim in range(2)))
    return found


def _gradient(values: Tensor, parameter: nn.Parameter, seed: int) -> Tensor:
    """∂/∂parameter of the values in a random direction."""
    aim = (values * _direction(values, seed)).sum()
    (gradient,) = torch.autograd.grad(aim, parameter, retain_graph=True, allow_unused=True)
    return torch.zeros_like(parameter) if gradient is None else gradient


def _direction(values: Tensor, seed: int) -> Tensor:
    return torch.randn(values.shape, generator=torch.Generator().manual_seed(seed)).to(values)


def _regular(name: str, parameter: nn.Parameter, by_head: list, exponent: float) -> Rows:
    """The pattern of the heads' rows. CannotClip unless each head, or group of neighbours, has its own block at a fixed stride."""
    transposed = parameter.ndim == 2 and by_head[0][1] != by_head[-1][1]
    lines = [columns if transposed else rows for rows, columns in by_head]
    distinct = [line for line, _ in itertools.groupby(lines)]
    group, firsts, count = len(lines) // len(distinct), [line[0] for line in distinct if line], len(distinct[0])
    stride = firsts[1] - firsts[0] if len(firsts) > 1 else count
    expected = [list(range(firsts[0] + i * stride, firsts[0] + i * stride + count)) for i in range(len(distinct))]
    grouped = lines == [line for line in distinct for _ in range(group)]
    if distinct != expected or stride < count or not grouped:
        raise CannotClip(f"{name}: the rows of its heads in {tuple(parameter.shape)} follow no regular pattern")
    return Rows(parameter, len(distinct), firsts[0], stride, count, exponent, transposed)


def _shared_dimensions(k: Tensor, sources: list[list[nn.Parameter]]) -> set[int]:
    """Dimensions of the keys that all heads take from the same rows, where others have rows of their own."""
    if k.shape[1] == 1 or len(sources) == 1:
        return set()
    shared = set()
    for *_, weight in sources:
        by_head = _reached(k, weight, list(range(k.shape[-1])))
        if all(reached == by_head[0] for reached in by_head):
            dimensions = range(k.shape[-1])
            shared |= {i for i in dimensions if _gradient(k[:, 0, :, i], weight, i).any()}
    return shared
