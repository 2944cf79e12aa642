"""Trains a model for a few steps on one process, in a pipeline, or with shared experts; the same weights and batches each time.

    python -m torch.distributed.run --nproc_per_node 2 -m k2lib.parallel.job JOB.json

JOB.json: {"mode": "single" | "pipeline" | "experts", "config", "steps", "batch_size", "seq_len", "microbatches", "virtual", "lr",
"seed", "shards", "policy", "out"}; "policy" holds the arguments of a memory `Policy`. Process 0 writes the losses to `out`, each
process its timings beside it.
The loop and the step are `k2lib.train`'s; a layout is only another way to get gradients.
"""

import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import torch
import torch.distributed as dist
from torch import nn

from k2lib import machine
from k2lib.config import K2Config
from k2lib.corpus.packing import PackedDataset
from k2lib.memory import Policy
from k2lib.model import K2Model
from k2lib.optim import MuonClip
from k2lib.parallel.experts import shard_experts, synchronise
from k2lib.parallel.pipeline import Pipeline
from k2lib.store import write_atomic
from k2lib.train import Batch, train
from k2lib.train.step import Gradients, backward, under


def main(job: dict) -> None:
    rank, processes = int(os.environ.get("RANK", 0)), int(os.environ.get("WORLD_SIZE", 1))
    torch.set_num_threads(1)
    where = machine.worker_device(rank, processes)
    if job["mode"] != "single":
        dist.init_process_group(machine.collectives(where))
    torch.manual_seed(job["seed"])
    model = K2Model(K2Config.from_dict(job["config"])).to(where).train()
    dataset, pipeline = PackedDataset(job["shards"]), None
    if job["mode"] == "pipeline":
        cut = {key: job[key] for key in ("virtual", "microbatches", "batch_size", "seq_len")}
        pipeline = Pipeline(model, rank, processes, **cut)
        model, gradients = nn.ModuleList(pipeline.modules), pipeline.gradients
    elif job["mode"] == "experts":
        model, gradients = shard_experts(model, rank, processes), data_parallel(rank, processes)
    else:
        gradients = accumulated(job["microbatches"])

    def batches(start: int) -> Iterator[Batch]:
        sequences = dataset.batches(job["batch_size"], job["seq_len"], job["seed"], start_step=start)
        return (Batch.from_sequences(rows).to(where) for rows in sequences)

    # fp32: bf16 would turn differences in the last bit of a sum over processes into visible ones
    optimizer = MuonClip.for_model(model, lr=job["lr"], group=None, ns_dtype=torch.float32)
    gradients = under(Policy(**job["policy"]), gradients)
    history = train(model, optimizer, batches, steps=job["steps"], lr_at=lambda _: job["lr"], gradients=gradients)
    if rank == 0:
        write_atomic(Path(job["out"]), json.dumps({"losses": [record.loss for record in history]}))
    write_atomic(Path(f"{job['out']}.spans{rank}"), json.dumps(pipeline.spans() if pipeline else []))
    if dist.is_initialized():
        dist.barrier()
        dist.destroy_process_group()


def accumulated(microbatches: int) -> Gradients:
    """One process: micro-batches summed in the pipeline's order, since orthogonalisation magnifies the last bit."""

    def gradients(model: nn.Module, batch: Batch) -> float:
        parts = zip(batch.tokens.chunk(microbatches), batch.targets.chunk(microbatches), strict=True)
        total = sum(backward(model, Batch(*part)) for part in parts) / microbatches
        for parameter in model.parameters():
            if parameter.grad is not None:
                parameter.grad /= microbatches
        return total

    return gradients


def data_parallel(rank: int, processes: int) -> Gradients:
    """Data and experts shared by the same processes, as with EP inside a data-parallel group."""

    def gradients(model: nn.Module, batch: Batch) -> float:
        mine = Batch(batch.tokens.chunk(processes)[rank], batch.targets.chunk(processes)[rank])
        total = torch.tensor(backward(model, mine), device=mine.tokens.device)
        synchronise(model, processes)
        dist.all_reduce(total)
        return total.item() / processes

    return gradients


if __name__ == "__main__":
    main(json.loads(Path(sys.argv[1]).read_text(encoding="utf-8")))
