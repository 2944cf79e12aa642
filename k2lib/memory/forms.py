"""The forms in which a storage waits for the backward pass: as it is, as FP8 tiles, away on the host.

A form holds a whole storage as a flat tensor, so that all views of it that autograd saves share one copy.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from k2lib.memory.fp8 import dequantize_fp8, quantize_fp8
from k2lib.memory.offload import Transfer

TILE = 128


class AsItIs:
    def __init__(self, tensor: Tensor):
        self.flat_, self.version = _flat(tensor), tensor._version
        self.bytes = self.flat_.numel() * self.flat_.element_size()

    def flat(self) -> Tensor:
        if self.flat_._version != self.version:
            raise RuntimeError(
                f"a kept {self.flat_.dtype} tensor was changed in place before its gradient was taken: it is at version "
                f"{self.flat_._version} and was kept at {self.version}; change a copy instead"
            )
        return self.flat_


class Fp8:
    """Tiles of 1×128 along the tensor's rows, or along its memory where that is not the tensor's own order."""

    def __init__(self, tensor: Tensor):
        flat = _flat(tensor)
        rows = tensor.is_contiguous() and tensor.numel() == flat.numel() and tensor.ndim > 1
        self.q, self.scale = quantize_fp8(flat.view(-1, tensor.shape[-1]) if rows else flat)
        self.dtype, self.flat_ = tensor.dtype, None
        self.bytes = self.q.numel() + 4 * self.scale.numel()

    def flat(self) -> Tensor:
        if self.flat_ is None:  # one for all operations that saved it; the last of them takes it along
            self.flat_ = dequantize_fp8(self.q, self.scale, self.dtype).flatten()
        return self.flat_


class Away:
    def __init__(self, tensor: Tensor, transfer: Transfer):
        flat = _flat(tensor)
        self.bytes = flat.numel() * flat.element_size()
        self.transfer, self.parcel = transfer, transfer.send(flat)

    def flat(self) -> Tensor:
        return self.transfer.fetch(self.parcel)


Form = AsItIs | Fp8 | Away


@dataclass(frozen=True)
class View:
    """One saved tensor: a window of a form."""

    form: Form
    dtype: torch.dtype
    shape: torch.Size
    stride: tuple[int, ...]
    offset: int

    @classmethod
    def of(cls, form: Form, tensor: Tensor) -> "View":
        return cls(form, tensor.dtype, tensor.shape, tensor.stride(), tensor.storage_offset())

    def value(self) -> Tensor:
        flat = self.form.flat()
        flat = flat if flat.dtype == self.dtype else flat.view(self.dtype)
        return flat.as_strided(self.shape, self.stride, self.offset)


def _flat(tensor: Tensor) -> Tensor:
    """All of a tensor's storage, [N]."""
    count = tensor.untyped_storage().nbytes() // tensor.element_size()
    return tensor.detach().as_strided((count,), (1,), 0)
