"""Pipeline parallelism: consecutive layers on different processes, micro-batches flowing through (section 2.4.2).

K2 uses interleaved 1F1B over 16 stages with several virtual stages each. The schedules are torch.distributed.pipelining's; this file
cuts a K2Model into stages and notes when each action ran, so that the bubbles can be seen.
"""

import copy
import itertools
import time
from dataclasses import asdict, dataclass

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.pipelining import PipelineStage, Schedule1F1B, ScheduleInterleaved1F1B

from k2lib.model import K2Model
from k2lib.train import Batch


def cut(model: K2Model, first: int, last: int) -> K2Model:
    """Layers first…last − 1 of a model, sharing its weights: only the first stage embeds, only the last has norm and head."""
    weights = {id(tensor): tensor for tensor in itertools.chain(model.parameters(), model.buffers())}
    stage = copy.deepcopy(model, weights)
    stage.layers = stage.layers[first:last]
    if first > 0:
        stage.embed_tokens = None
    if last < len(model.layers):
        stage.norm = stage.lm_head = None
    return stage


@dataclass(frozen=True)
class Action:
    rank: int
    stage: int
    kind: str  # "forward" | "backward"
    microbatch: int
    start: float  # seconds on this process's clock
    end: float


def boundaries(layers: int, stages: int) -> list[int]:
    """Layer numbers at which to cut, [0, …, layers], as even as possible. ValueError for more stages than layers."""
    if not 1 <= stages <= layers:
        raise ValueError(f"{layers} layers cannot be cut into {stages} stages; choose 1 to {layers}")
    return [round(i * layers / stages) for i in range(stages + 1)]


class Pipeline:
    """The stages of this process and their schedule. `virtual` stages a process interleave: rank r holds r, r + P, …

    Shapes are given and not inferred: an inferring forward pass would count its tokens in the routers' loads.
    """

    def __init__(
        self,
        model: K2Model,
        rank: int,
        processes: int,
        *,
        virtual: int,
        microbatches: int,
        batch_size: int,
        seq_len: int,
    ):
        if batch_size % microbatches:
            raise ValueError(
                f"a batch of {batch_size} cannot be cut into {microbatches} micro-batches; choose a divisor"
            )
        cuts = boundaries(len(model.layers), processes * virtual)
        mine = range(rank, processes * virtual, processes)
        self.modules = [cut(model, cuts[i], cuts[i + 1]) for i in mine]
        self.rank, self.last, self.actions = rank, processes - 1, []  # the last process holds the last stage
        shape = (batch_size // microbatches, seq_len)
        stages = [
            self._timed(_stage(module, i, processes * virtual, shape))
            for i, module in zip(mine, self.modules, strict=True)
        ]
        settings = {"n_microbatches": microbatches, "loss_fn": _loss}
        self.schedule = (
            Schedule1F1B(stages[0], **settings) if virtual == 1 else ScheduleInterleaved1F1B(stages, **settings)
        )

    def gradients(self, _stages: nn.Module, batch: Batch) -> float:
        """Gradients of the mean loss on a batch [B, T] in this process's stages; every process learns the loss."""
        self.actions.clear()  # the spans of the last step are kept
        inputs = (batch.tokens,) if self.rank == 0 else ()
        if self.last == self.rank:
            losses: list[Tensor] = []
            self.schedule.step(*inputs, target=batch.targets, losses=losses)
            loss = torch.stack(losses).mean()
        else:
            self.schedule.step(*inputs)
            loss = torch.zeros((), device=batch.tokens.device)
        dist.broadcast(loss, self.last)
        return loss.item()

    def spans(self) -> list[dict]:
        """What ran when, as plain dicts."""
        return [asdict(action) for action in self.actions]

    def _timed(self, stage: PipelineStage) -> PipelineStage:
        for kind, name in (("forward", "forward_one_chunk"), ("backward", "backward_one_chunk")):
            setattr(stage, name, self._watch(getattr(stage, name), stage.stage_index, kind))
        return stage

    def _watch(self, method, stage: int, kind: str):
        def watched(microbatch, *args, **kwargs):
            start = time.time()
            try:
                return method(microbatch, *args, **kwargs)
            finally:
                self.actions.append(Action(self.rank, stage, kind, microbatch, start, time.time()))

        return watched


def _stage(module: K2Model, index: int, count: int, shape: tuple[int, int]) -> PipelineStage:
    hidden = torch.empty(*shape, module.config.hidden_size, device="meta", requires_grad=True)
    tokens = torch.empty(*shape, dtype=torch.int64, device="meta")
    logits = torch.empty(*shape, module.config.vocab_size, device="meta", requires_grad=True)
    return PipelineStage(
        module,
        index,
        count,
        next(module.parameters()).device,
        input_args=(tokens if index == 0 else hidden,),
        output_args=(logits if index == count - 1 else hidden,),
    )


def _loss(logits: Tensor, targets: Tensor) -> Tensor:
    return nn.functional.cross_entropy(logits.flatten(0, 1).float(), targets.flatten())
