"""The activation store: what the backward pass will need, kept in the form that a policy chose for it (section 2.4.3).

    with ActivationStore(k2_policy()) as store:
        loss = model.loss(tokens, targets)
    loss.backward()
    store.bytes_by_kind   # what was kept on the device at the fullest moment

Autograd saves a tensor once for every operation that needs it; the store keeps one copy for each storage and version.
Weights are not activations: parameters and their casts pass through uncounted.
"""

import time
import warnings
import weakref
from collections import defaultdict
from dataclasses import dataclass, field

import torch
from torch import Tensor
from torch.multiprocessing.reductions import StorageWeakRef

from k2lib.memory.forms import AsItIs, Away, Form, Fp8, View
from k2lib.memory.offload import Span, Transfer
from k2lib.memory.policy import Policy
from k2lib.memory.recompute import Later, Recomputation
from k2lib.model.regions import listener

SMALLEST = 4096  # elements: smaller tensors are kept as they are
_PASSIVE = {f"{name}Backward0" for name in "ToCopy T Transpose View UnsafeView Permute Unsqueeze Select".split()}


@dataclass
class _Known:
    """What the store knows of a storage while it is in use."""

    storage: StorageWeakRef  # no other storage gets its address while this is held
    name: str | None = None
    result_of: tuple[Recomputation, int, int] | None = None  # which result, and its version
    forms: dict[int, "weakref.ref[Form]"] = field(default_factory=dict)  # by version


class ActivationStore:
    """Context manager around forward passes; the backward passes may lie inside or after it.

    Gradients are those of plain autograd, to the last bit except for what `policy.fp8` rounds. RuntimeError for
    a second derivative, and for a kept tensor that was changed in place before its gradient was taken. A UserWarning
    when the forward pass marked none of the parts and tensors that the policy names, which then changed nothing of them.
    Entered again, it counts anew.
    """

    def __init__(self, policy: Policy | None = None):
        self.policy = policy or Policy()
        self.bytes_by_kind: dict[str, int] = {}  # on the device at the fullest moment, by name of the tensor
        self.host_bytes = 0  # on the host at its fullest moment
        self.transfer: Transfer | None = None
        self._device, self._host = defaultdict(int), defaultdict(int)  # at present
        self._known: dict[int, _Known] = {}
        self._within: Recomputation | None = None
        self._region, self._layers = "other", []
        self._heard: set[str] = set()  # marks of the forward pass since it was entered
        self._kept = 0  # tensors since then

    def __enter__(self) -> "ActivationStore":
        self.bytes_by_kind = {name: size for name, size in self._device.items() if size}
        self.host_bytes = sum(self._host.values())
        self._layers, self._heard, self._kept = [], set(), 0
        self._hooks = torch.autograd.graph.saved_tensors_hooks(self._pack, _unpack)
        self._hooks.__enter__()
        self._listening = listener.set(self)
        return self

    def __exit__(self, *error) -> None:
        listener.reset(self._listening)
        self._hooks.__exit__(*error)
        self._known.clear()  # the graph owns what it needs
        wanted = self.policy.recompute | self.policy.fp8
        if self._kept and wanted and not wanted & self._heard and not any(error):
            warnings.warn(
                f"the policy names {', '.join(sorted(wanted))}, and the forward pass marked none of them, so nothing was "
                "recomputed or stored in FP8; mark the model's parts with k2lib.model.regions",
                stacklevel=2,
            )

    @property
    def total_bytes(self) -> int:
        """Bytes of activations kept on the device at the fullest moment; weights are not among them."""
        return sum(self.bytes_by_kind.values())

    @property
    def present_bytes(self) -> int:
        """Bytes of activations that the device holds now; 0 after the backward pass."""
        self._sweep()
        return sum(self._device.values())

    def timeline(self) -> list[Span]:
        """Forward passes through the layers, and every copy to the host and back."""
        return self._layers + (self.transfer.spans() if self.transfer else [])

    # what the model says

    def named(self, name: str, tensor: Tensor) -> None:
        self._heard.add(name)
        self._look_up(tensor).name = name

    def region(self, name: str, function, inputs: tuple):
        self._heard.add(name)
        if name != "layer":
            return self._region_inside(name, function, inputs)
        if self.policy.offload:
            self._transfer(next(x for x in inputs if isinstance(x, Tensor))).enter(function)
        self._sweep()
        start = time.perf_counter()
        output = self._region_inside(name, function, inputs)
        where = self.transfer.group if self.transfer else (0, len(self._layers) + 1)
        self._layers.append(Span("forward", *where, start, time.perf_counter()))
        return output

    def _region_inside(self, name: str, function, inputs: tuple):
        if self._within is not None:
            return function(*inputs)  # all of it runs again with what it lies in
        outer, self._region = self._region, name
        try:
            if name in self.policy.recompute:
                return self._forget(name, function, inputs)
            results = function(*inputs)
        finally:
            self._region = outer
        for result in results if isinstance(results, tuple) else (results,):
            known = self._look_up(result)
            known.name = known.name or (name if name != "layer" else "residual")
        return results

    def _forget(self, name: str, function, inputs: tuple):
        again = self._within = Recomputation(name, function, inputs, self._keep)
        try:
            results = function(*inputs)
        finally:
            self._within = None
        if name != "layer":  # a layer's result is the next one's input, from which that runs again
            for number, result in enumerate(results if isinstance(results, tuple) else (results,)):
                known = self._look_up(result)
                known.name, known.result_of = name, (again, number, result._version)
        return results

    # what autograd saves

    @torch.compiler.disable
    def _pack(self, tensor: Tensor) -> "View | Later":
        self._kept += 1
        return self._within.saved_inside(tensor) if self._within is not None else self._keep(tensor)

    def _keep(self, tensor: Tensor) -> "View | Later":
        if _is_weight(tensor):
            return View.of(AsItIs(tensor), tensor)
        known = self._look_up(tensor)
        if known.result_of is not None and tensor._version == known.result_of[2]:
            again, number, _ = known.result_of
            return again.result(number, tensor)
        form = known.forms.get(tensor._version, lambda: None)()
        if form is None:
            form = self._form(known.name or self._region, tensor)
            known.forms[tensor._version] = weakref.ref(form)
        return View.of(form, tensor)

    def _form(self, name: str, tensor: Tensor) -> Form:
        whole = tensor.untyped_storage().nbytes() // tensor.element_size()
        large = whole >= SMALLEST
        if large and name in self.policy.fp8 and tensor.is_floating_point():
            form = Fp8(tensor)
        elif large and self.policy.offload:
            return self._count(Away(tensor, self._transfer(tensor)), name, self._host)
        else:
            form = AsItIs(tensor)
        return self._count(form, name, self._device)

    def _count(self, form: Form, name: str, held: dict[str, int]) -> Form:
        held[name] += form.bytes
        weakref.finalize(form, _release, held, name, form.bytes).atexit = False
        if sum(self._device.values()) > self.total_bytes:
            self.bytes_by_kind = {name: size for name, size in self._device.items() if size}
        self.host_bytes = max(self.host_bytes, sum(self._host.values()))
        return form

    def _sweep(self) -> None:
        """Forgets storages that are gone, and with them what was kept to form them again."""
        self._known = {key: known for key, known in self._known.items() if not known.storage.expired()}

    def _transfer(self, tensor: Tensor) -> Transfer:
        self.transfer = self.transfer or Transfer(tensor.device)
        return self.transfer

    def _look_up(self, tensor: Tensor) -> _Known:
        storage = StorageWeakRef(tensor.untyped_storage())
        known = self._known.get(storage.cdata)
        if known is None or known.storage.expired():
            known = self._known[storage.cdata] = _Known(storage)
        return known


class MemoryMeter(ActivationStore):
    """An activation store that changes nothing: it counts the bytes that plain autograd keeps, by name."""

    def __init__(self):
        super().__init__(Policy())


@torch.compiler.disable
def _unpack(kept: "View | Later") -> Tensor:
    if torch.is_grad_enabled():
        raise RuntimeError(
            "the backward pass runs with create_graph=True, and an activation store keeps what first derivatives "
            "need; take second derivatives outside of it"
        )
    return kept.value()


def _release(held: dict[str, int], name: str, size: int) -> None:
    held[name] -= size


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
