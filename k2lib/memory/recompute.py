"""A part of the forward pass that runs a second time when the backward pass first needs something of it.

`torch.utils.checkpoint` forgets what happens inside a part and keeps its result, which the next operation saves anyway.
Here the result is forgotten too: for a norm or an up-projection it is the result that is large. Everything that autograd
saved inside or of the result becomes a `Later`; the first that is asked for runs the part, once, and all of them are filled.
"""

import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor

from k2lib import machine
from k2lib.model.regions import running_again


class Later:
    """One saved tensor that does not exist at present. It lives as long as autograd wants it, and its value with it."""

    def __init__(self, source: "Recomputation", shape: torch.Size, dtype: torch.dtype):
        self.source, self.shape, self.dtype = source, shape, dtype
        self.tensor: Tensor | None = None

    def value(self) -> Tensor:
        if self.tensor is None:
            self.source.run()
        return self.tensor


class Recomputation:
    """function(*inputs), whose inputs are kept as the store keeps tensors; inputs that are not tensors stay as they are.

    `keep` turns a tensor into an object whose value() gives it back.
    """

    def __init__(self, name: str, function: Callable, inputs: tuple, keep: Callable[[Tensor], object]):
        self.name, self.function = name, function
        self.inputs = [(keep(x), x.requires_grad) if isinstance(x, Tensor) else (x, None) for x in inputs]
        like = next(x for x in inputs if isinstance(x, Tensor))
        self.precision, self.chance = _precision_of(like), _Chance(like.device)
        self.inside: list[weakref.ref[Later]] = []  # in the order in which autograd saved them
        self.results: list[tuple[weakref.ref[Later], int, tuple]] = []  # which result, which view of it

    def saved_inside(self, tensor: Tensor) -> Later:
        later = Later(self, tensor.shape, tensor.dtype)
        self.inside.append(weakref.ref(later))
        return later

    def result(self, number: int, view: Tensor) -> Later:
        """A view of result `number`, which shares its memory."""
        later = Later(self, view.shape, view.dtype)
        place = (view.shape, view.stride(), view.storage_offset())
        self.results.append((weakref.ref(later), number, place))
        return later

    def run(self) -> None:
        """Fills every Later that is still wanted, and lets the inputs go. RuntimeError if the part did something else."""
        saved: list[Tensor] = []
        given = [x if needs is None else x.value().detach().requires_grad_(needs) for x, needs in self.inputs]
        marker = running_again.set(True)
        try:
            collect = torch.autograd.graph.saved_tensors_hooks(lambda t: saved.append(t.detach()), _refuse)
            with torch.enable_grad(), torch.autocast(**self.precision), self.chance.again(), collect:
                results = self.function(*given)
        finally:
            running_again.reset(marker)
        if len(saved) != len(self.inside):
            raise self._differs(f"saved {len(self.inside)} tensors the first time and {len(saved)} the second")
        for wanted, tensor in zip(self.inside, saved, strict=True):
            self._fill(wanted(), tensor)
        results = [r.detach() for r in (results if isinstance(results, tuple) else (results,))]
        for wanted, number, place in self.results:
            self._fill(wanted(), results[number].as_strided(*place))
        self.function, self.inputs = None, []

    def _fill(self, later: Later | None, tensor: Tensor) -> None:
        if later is None:
            return
        if (later.shape, later.dtype) != (tensor.shape, tensor.dtype):
            expected, got = (f"{t.dtype} {tuple(t.shape)}" for t in (later, tensor))
            raise self._differs(f"gave {expected} the first time and {got} the second")
        later.tensor = tensor

    def _differs(self, how: str) -> RuntimeError:
        return RuntimeError(f"{self.name!r} {how}; a part that is recomputed must do the same on the same inputs")


class _Chance:
    """The state of the random generators before a part ran, so that its dropout drops the same numbers again."""

    def __init__(self, where: torch.device):
        self.where, self.states = where, _random_states(where)

    @contextmanager
    def again(self) -> Iterator[None]:
        """Inside, the states of then; afterwards those of now."""
        now = _random_states(self.where)
        _set_random_states(self.where, self.states)
        try:
            yield
        finally:
            _set_random_states(self.where, now)


def _random_states(where: torch.device) -> list[Tensor]:
    own = [torch.get_device_module(where).get_rng_state(where)] if where.type == machine.GPU else []
    return [torch.get_rng_state(), *own]


def _set_random_states(where: torch.device, states: list[Tensor]) -> None:
    torch.set_rng_state(states[0])
    for state in states[1:]:
        torch.get_device_module(where).set_rng_state(state, where)


def _precision_of(tensor: Tensor) -> dict:
    """Autocast's present state, as the arguments that bring it back."""
    kind = tensor.device.type
    if not torch.amp.is_autocast_available(kind):
        return {"device_type": machine.HOST.type, "enabled": False}
    return {"device_type": kind, "dtype": torch.get_autocast_dtype(kind), "enabled": torch.is_autocast_enabled(kind)}


def _refuse(_: None) -> Tensor:
    raise RuntimeError("a part that runs for the backward pass has no backward pass of its own")
