"""Who keeps which rows of the optimizer's states: all of them, or each rank its share (ZeRO-1; Moonlight, section 2.3).

Muon needs whole matrices, so its states cannot simply be cut as AdamW's are. Moonlight's way, for weights and averaged
gradients that are whole on every rank, as under DDP:

1. a rank moves the momentum of its own rows and forms their direction μM + G;
2. directions are gathered, in bf16 where products are bf16, one collective for many matrices of a shape;
3. every rank orthogonalises whole matrices and applies to its own rows what belongs to them;
4. the new rows are gathered.

Memory: one momentum over R ranks instead of R of them. Sent a step and Muon parameter: 2 bytes for the direction on top
of the weight that ZeRO-1 sends with any optimizer. What surprised: nothing in it needs the gradient to be whole, and
everything needs each rank to skip the same parameters.
"""

import math

import torch
import torch.distributed as dist
from torch import Tensor
from torch.distributed.device_mesh import DeviceMesh

_all_gather = getattr(dist, "all_gather_single", None) or dist.all_gather_into_tensor  # the newer name of the same


class Whole:
    """Every rank keeps all rows: one process, DDP, or parameters that are sharded by themselves (FSDP2)."""

    def rows(self, tensor: Tensor) -> Tensor:
        """The rows that this rank updates, a view."""
        return tensor

    def zeros(self, parameter: Tensor) -> Tensor:
        """A state of the parameter, before its first step."""
        return torch.zeros_like(parameter)

    def local(self, state: Tensor) -> Tensor:
        """This rank's rows of a state."""
        return state

    def room(self, parameter: Tensor) -> int:
        """Numbers that a rank's rows take in a buffer that is gathered."""
        return parameter.numel()

    def gather(self, buffer: Tensor, parameters: list[Tensor], dtype: torch.dtype) -> Tensor:
        """From the rows of every rank, each parameter's in its room, all numbers of the parameters one after another."""
        return buffer

    def spread(self, parameters: list[Tensor]) -> None:
        """Give every rank the rows that the others updated."""


class Shares(Whole):
    """Rank r of R keeps the r-th of R equal runs of rows (dimension 0), the last ones shorter: DTensor's own Shard(0)."""

    def __init__(self, mesh: DeviceMesh):
        if mesh.ndim != 1:
            raise ValueError(
                f"the mesh {mesh} has {mesh.ndim} dimensions; ZeRO-1 wants the one of the data-parallel ranks"
            )
        self.mesh, self.group, self.rank, self.ranks = mesh, mesh.get_group(), mesh.get_local_rank(), mesh.size()

    def rows(self, tensor: Tensor) -> Tensor:
        most = self._most(tensor)
        start = min(self.rank * most, len(tensor))
        return tensor.narrow(0, start, min(most, len(tensor) - start))

    def zeros(self, parameter: Tensor) -> Tensor:
        from torch.distributed.tensor import Shard, zeros  # half a second, for those who shard

        settings = {"dtype": parameter.dtype, "device_mesh": self.mesh, "placements": [Shard(0)]}
        return zeros(*parameter.shape, **settings)

    def local(self, state: Tensor) -> Tensor:
        return state.to_local()

    def room(self, parameter: Tensor) -> int:
        return self._most(parameter) * math.prod(parameter.shape[1:])

    def gather(self, buffer: Tensor, parameters: list[Tensor], dtype: torch.dtype) -> Tensor:
        sent = buffer.to(dtype)
        received = sent.new_empty(self.ranks * len(sent))
        _all_gather(received, sent, group=self.group)
        parts = received.view(self.ranks, -1).split([self.room(parameter) for parameter in parameters], dim=1)
        return torch.cat([part.flatten()[: p.numel()] for p, part in zip(parameters, parts, strict=True)])

    def spread(self, parameters: list[Tensor]) -> None:
        if not parameters:
            return
        buffer = parameters[0].new_zeros(sum(map(self.room, parameters)))
        for parameter, part in zip(parameters, buffer.split(list(map(self.room, parameters))), strict=True):
            own = self.rows(parameter)
            part[: own.numel()] = own.flatten()
        whole = self.gather(buffer, parameters, buffer.dtype).split([parameter.numel() for parameter in parameters])
        for parameter, values in zip(parameters, whole, strict=True):
            parameter.copy_(values.view(parameter.shape))

    def _most(self, tensor: Tensor) -> int:
        """Rows of the largest share."""
        return -(-len(tensor) // self.ranks)
