"""The activation store: saved-tensor hooks that count, compress and move what the backward pass will need (section 2.4.3).

    with recompute(model, policy), ActivationStore(policy) as store:
        loss = model.loss(tokens, targets)
    loss.backward()
    store.bytes_by_kind   # what was kept on the device

Autograd saves a tensor once for every operation that needs it; the store keeps one copy for each storage and version. Weights are
not activations: parameters and their casts pass through uncounted, under "weights".
"""

from collections import defaultdict
from dataclasses import dataclass, field

import torch
from torch import Tensor
from torch.multiprocessing.reductions import StorageWeakRef
from torch.nn.modules.module import register_module_forward_hook, register_module_forward_pre_hook

from k2lib import machine
from k2lib.memory.fp8 import dequantize_fp8, quantize_fp8
from k2lib.memory.policy import Policy, kind_of

SMALLEST = 4096  # elements: smaller tensors are kept as they are
_PASSIVE = {f"{name}Backward0" for name in "ToCopy T Transpose View UnsafeView Permute Unsqueeze Select".split()}


@dataclass
class _Kept:
    """One saved tensor in the form it is stored in."""

    q: Tensor | None = None
    scale: Tensor | None = None
    host: Tensor | None = None
    tensor: Tensor | None = None
    like: tuple = ()  # dtype, device, shape


@dataclass
class ActivationStore:
    """Context manager around a forward pass. After it: bytes kept on the device by kind, and bytes moved to the host."""

    policy: Policy = field(default_factory=Policy)
    bytes_by_kind: dict[str, int] = field(default_factory=lambda: defaultdict(int))
    host_bytes: int = 0

    def __enter__(self) -> "ActivationStore":
        self._stack: list[tuple[object, str]] = []
        self._seen: dict[tuple, _Kept] = {}
        self._storages: list[StorageWeakRef] = []
        self._handles = [
            register_module_forward_pre_hook(self._enter_module),
            register_module_forward_hook(self._leave_module, always_call=True),
        ]
        self._hooks = torch.autograd.graph.saved_tensors_hooks(self._pack, self._unpack)
        self._hooks.__enter__()
        return self

    def __exit__(self, *error) -> None:
        self._hooks.__exit__(*error)
        for handle in self._handles:
            handle.remove()
        self._seen, self._storages = {}, []  # the graph owns what it needs; the store must not keep it alive

    @property
    def total_bytes(self) -> int:
        """Bytes of activations kept on the device; weights are not among them."""
        return sum(size for kind, size in self.bytes_by_kind.items() if kind != "weights")

    def _enter_module(self, module, _inputs) -> None:
        self._stack.append((module, kind_of(module) or (self._stack[-1][1] if self._stack else "other")))

    def _leave_module(self, module, _inputs, _output) -> None:
        if self._stack and self._stack[-1][0] is module:
            self._stack.pop()

    def _pack(self, tensor: Tensor) -> _Kept:
        storage = StorageWeakRef(tensor.untyped_storage())  # no other storage gets its address while we hold it
        view = (tensor.storage_offset(), tuple(tensor.shape), tensor.stride(), tensor.dtype)
        key = (storage.cdata, tensor._version, view)
        if key not in self._seen:
            self._storages.append(storage)
            self._seen[key] = self._keep(tensor, key)
        return self._seen[key]

    def _keep(self, tensor: Tensor, key: tuple) -> _Kept:
        kind = self._stack[-1][1] if self._stack else "other"
        like = (tensor.dtype, tensor.device, tensor.shape)
        if _is_weight(tensor):
            return _Kept(tensor=tensor)
        large = tensor.is_floating_point() and tensor.numel() >= SMALLEST
        if large and kind in self.policy.fp8 and tensor.ndim >= 2:
            q, scale = quantize_fp8(tensor.detach())
            self.bytes_by_kind[kind] += q.numel() + 4 * scale.numel()
            return _Kept(q=q, scale=scale, like=like)
        if large and self.policy.offload:
            host = tensor.detach().to(machine.HOST, copy=True)
            self.host_bytes += host.numel() * host.element_size()
            return _Kept(host=host, like=like)
        if not any(seen[:2] == key[:2] for seen in self._seen):  # another view of the same storage is free
            whole = tensor.untyped_storage().nbytes()
            self.bytes_by_kind[kind] += whole if tensor._is_view() else tensor.numel() * tensor.element_size()
        return _Kept(tensor=tensor)

    @staticmethod
    def _unpack(kept: _Kept) -> Tensor:
        if kept.tensor is not None:
            return kept.tensor
        dtype, device, shape = kept.like
        if kept.host is not None:
            return kept.host.to(device)
        return dequantize_fp8(kept.q, kept.scale, dtype).view(shape)


class MemoryMeter(ActivationStore):
    """An activation store that changes nothing: it counts the bytes that plain autograd keeps, by kind."""


def _is_weight(tensor: Tensor) -> bool:
    """A parameter, or a mere cast or view of one."""
    if tensor.grad_fn is None:
        return tensor.requires_grad or (
            tensor._base is not None and tensor._base.is_leaf and tensor._base.requires_grad
        )
    node = tensor.grad_fn
    for _ in range(4):
        if type(node).__name__ == "AccumulateGrad":
            return True
        if type(node).__name__ not in _PASSIVE or not node.next_functions:
            return False
        node = node.next_functions[0][0]
    return False
