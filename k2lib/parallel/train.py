"""Trains a model for a few steps on one process, in a pipeline, or with shared experts; the same weights and batches each time.

    python -m torch.distributed.run --nproc_per_node 2 -m k2lib.parallel.train JOB.json

JOB.json: {"mode": "single" | "pipeline" | "experts", "config", "steps", "batch_size", "seq_len", "microbatches", "virtual", "lr",
"seed", "shards", "out"}. Process 0 (for a pipeline, the last) writes losses and timings to `out`.
"""

import json
import os
import sys
from pathlib import Path

import torch
import torch.distributed as dist

from k2lib import machine
from k2lib.config import K2Config
from k2lib.corpus.packing import PackedDataset
from k2lib.model import K2Model
from k2lib.model.moe import update_router_bias
from k2lib.optim import MuonClip
from k2lib.parallel.experts import shard_experts, synchronise
from k2lib.parallel.pipeline import Pipeline
from k2lib.store import write_atomic


def main(job: dict) -> None:
    rank, processes = int(os.environ.get("RANK", 0)), int(os.environ.get("WORLD_SIZE", 1))
    torch.set_num_threads(1)
    where = machine.worker_device(rank, processes)
    if job["mode"] != "single":
        dist.init_process_group(machine.collectives(where))
    torch.manual_seed(job["seed"])
    model = K2Model(K2Config.from_dict(job["config"])).to(where).train()
    batches = PackedDataset(job["shards"]).batches(job["batch_size"], job["seq_len"], job["seed"])
    batches = (batch.to(where) for batch in batches)
    run = {"single": _single, "pipeline": _pipeline, "experts": _experts}[job["mode"]]
    losses, spans = run(job, model, batches, rank, processes)
    if losses:
        write_atomic(Path(job["out"]), json.dumps({"losses": losses}))
    write_atomic(Path(f"{job['out']}.spans{rank}"), json.dumps(spans))
    if dist.is_initialized():
        dist.barrier()
        dist.destroy_process_group()


def _single(job, model, batches, _rank, _processes):
    optimizer, losses = _optimizer(model, job), []
    for _, batch in zip(range(job["steps"]), batches, strict=False):
        parts = batch.chunk(
            job["microbatches"]
        )  # summed in the pipeline's order: orthogonalisation magnifies the last bit
        total = 0.0
        for part in parts:
            loss = model.loss(part[:, :-1], part[:, 1:]) / len(parts)
            loss.backward()
            total += loss.item()
        _update(model, optimizer)
        losses.append(total)
    return losses, []


def _experts(job, model, batches, rank, processes):
    """Data and experts shared by the same processes, as with EP inside a data-parallel group."""
    shard_experts(model, rank, processes)
    optimizer, losses = _optimizer(model, job), []
    for _, batch in zip(range(job["steps"]), batches, strict=False):
        mine = batch.chunk(processes)[rank]
        loss = model.loss(mine[:, :-1], mine[:, 1:])
        loss.backward()
        synchronise(model, processes)
        _update(model, optimizer)
        total = loss.detach()
        dist.all_reduce(total)
        losses.append(total.item() / processes)
    return losses if rank == 0 else [], []


def _pipeline(job, model, batches, rank, processes):
    pipeline = Pipeline(
        model,
        rank,
        processes,
        virtual=job["virtual"],
        microbatches=job["microbatches"],
        batch_size=job["batch_size"],
        seq_len=job["seq_len"],
    )
    stages = torch.nn.ModuleList(pipeline.modules)
    optimizer, losses = _optimizer(stages, job), []
    for _, batch in zip(range(job["steps"]), batches, strict=False):
        pipeline.actions.clear()  # the spans of the last step are kept
        loss = pipeline.step(batch[:, :-1].contiguous(), batch[:, 1:].contiguous())
        _update(stages, optimizer)
        losses += [loss] if loss is not None else []
    return losses, pipeline.spans()


def _optimizer(model: torch.nn.Module, job: dict) -> MuonClip:
    """Orthogonalises in fp32: bf16 would turn differences in the last bit of a sum over processes into visible ones."""
    return MuonClip.for_model(model, lr=job["lr"], ns_dtype=torch.float32)


def _update(model: torch.nn.Module, optimizer: MuonClip) -> None:
    optimizer.step()
    optimizer.zero_grad(set_to_none=True)
    update_router_bias(model)


if __name__ == "__main__":
    main(json.loads(Path(sys.argv[1]).read_text(encoding="utf-8")))
