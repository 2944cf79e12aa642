"""A second device made of Python: it computes on the processor, and refuses what a real one refuses.

Within `second_device()` PyTorch's "meta" device holds real numbers. An operation that mixes its tensors with the
processor's fails, as it does on a GPU (numbers without dimensions aside); copies between the two are allowed. So a
training that ends there with the processor's losses has placed every tensor that it made.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map_only

NAME = "meta"
COPIES = {"aten::copy_", "aten::_to_copy"}


class Placed(torch.Tensor):
    """A tensor of the second device around one of the processor."""

    inner: torch.Tensor

    @staticmethod
    def __new__(cls, inner: torch.Tensor):
        layout = {"strides": inner.stride(), "storage_offset": inner.storage_offset()}
        made = torch.Tensor._make_wrapper_subclass(cls, inner.shape, dtype=inner.dtype, device=NAME, **layout)
        made.inner = inner
        return made

    def __repr__(self) -> str:
        return f"Placed({self.inner!r})"

    def tolist(self) -> list:
        return self.inner.tolist()

    @classmethod
    def __torch_dispatch__(cls, func, types, args=(), kwargs=None):
        return run(func, args, kwargs or {})


class Lists(TorchFunctionMode):
    """`torch.tensor([…], device=…)` fills its tensor below the dispatcher, so it is made on the processor and copied."""

    def __torch_function__(self, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        if func is not torch.tensor or torch.device(kwargs.get("device") or "cpu").type != NAME:
            return func(*args, **kwargs)
        return func(*args, **kwargs | {"device": "cpu"}).to(NAME)


class Factories(TorchDispatchMode):
    """Catches what makes a tensor on the second device out of nothing."""

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        return run(func, args, kwargs or {})


def run(func, args, kwargs):
    tensors = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, torch.Tensor)]
    placed = [tensor for tensor in tensors if isinstance(tensor, Placed)]
    wanted = kwargs.get("device")
    if placed and func._schema.name not in COPIES:
        strangers = [tensor for tensor in tensors if not isinstance(tensor, Placed) and tensor.ndim]
        assert not strangers, f"{func} mixes two devices: {strangers[0].shape} is on the processor"
    there = bool(placed) if wanted is None else torch.device(wanted).type == NAME
    if func._schema.name == "aten::copy_":
        there = isinstance(args[0], Placed)
    if wanted is not None:
        kwargs = kwargs | {"device": "cpu"}
    result = func(*tree_map_only(Placed, lambda t: t.inner, args), **tree_map_only(Placed, lambda t: t.inner, kwargs))
    if not there:
        return result
    owners = {id(tensor.inner): tensor for tensor in placed}  # an operation in place returns the tensor it was given
    return tree_map_only(torch.Tensor, lambda t: owners[id(t)] if id(t) in owners else Placed(t), result)


@contextmanager
def second_device() -> Iterator[torch.device]:
    with Lists(), Factories():
        yield torch.device(NAME)
