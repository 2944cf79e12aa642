"""One model's life, stage by stage: corpus → base → SFT → RL. Each result is computed once and found by whoever needs it.

A stage that is missing is computed by the first that asks, under a lock, and stored under `artifacts/<profile>/`; so every
notebook runs alone, in any order. What a stage depends on (sizes, seed, the library's source it uses, the stage before it)
is in its key: change one and the stage is made again. A training that was killed continues from its last snapshot.
"""

import itertools
import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import torch

from k2lib import machine, store
from k2lib.config import K2Config
from k2lib.corpus import arithmetic, packing, stdlib
from k2lib.corpus.documents import Document
from k2lib.corpus.readers import user_corpus_key, user_documents
from k2lib.corpus.tokenizer import Tokenizer
from k2lib.corpus.world import World
from k2lib.llm import chat
from k2lib.memory.study import loss_curves
from k2lib.model import K2Model
from k2lib.optim import MuonClip, schedule
from k2lib.profiles import Profile
from k2lib.rl.problems import verifiable
from k2lib.rl.trainer import train_rl
from k2lib.synth import tasks, trajectories
from k2lib.train import Batch, Checkpoint, Snapshot, load_checkpoint, save_checkpoint, studies, train
from k2lib.train import sft as finetune

TALKATIVE = 4  # of five mathematics answers in the fine-tuning data: imitation learns both manners, RL may choose
Progress = Callable[[Iterable, str, int], Iterable]


@dataclass(frozen=True)
class Corpus:
    dir: Path
    tokenizer: Tokenizer
    world: World
    dataset: packing.PackedDataset
    manifest: dict


def config(profile: Profile) -> K2Config:
    """The model of this profile: the preset `nano`, with the profile's changes."""
    return K2Config.preset("nano").replace(**profile.model)


def corpus(profile: Profile, seed: int = 0, progress: Progress | None = None) -> Corpus:
    """Real text and code, the generated world and mathematics, as packed token shards with their tokenizer."""
    size = profile.corpus
    world = World.generate(seed, size.people)

    def make(directory: Path) -> None:
        documents = list((progress or _plain)(_documents(profile, world, seed), "read documents", None))
        sample = documents[:: max(1, len(documents) // 4000)]
        texts = itertools.chain((d.text for d in sample), _tool_declarations())
        tokenizer = Tokenizer.train(texts, size.vocab_size)
        tokenizer.save(directory / "tokenizer")
        packing.write_shards(
            (progress or _plain)(documents, "pack tokens", len(documents)),
            tokenizer,
            directory / "shards",
            size.shard_tokens,
            {"profile": profile.name, "seed": seed},
        )

    path = store.cached(
        "corpus",
        make,
        key={"size": asdict(size), "seed": seed, "user": user_corpus_key()},
        sources=("corpus", "llm", "synth"),
        root=store.artifacts_root(profile.name),
    )
    dataset = packing.PackedDataset(path / "shards")
    return Corpus(path, Tokenizer.load(path / "tokenizer"), world, dataset, dataset.manifest)


def base(profile: Profile, seed: int = 0, progress: Progress | None = None) -> Checkpoint:
    """The pre-trained model: MuonClip, the paper's schedule in small, on the corpus."""
    data = corpus(profile, seed, progress)
    size = profile.pretrain

    def make(directory: Path) -> None:
        torch.manual_seed(seed)
        model = K2Model(config(profile)).to(machine.device())
        optimizer = MuonClip.for_model(model, lr=size.lr, tau=size.qk_clip_tau)

        def batches(start: int) -> Iterator[Batch]:
            return map(
                Batch.from_sequences, data.dataset.batches(size.batch_size, size.seq_len, seed=seed, start_step=start)
            )

        snapshot = _snapshot(profile, "base", directory)
        history = train(
            model,
            optimizer,
            batches,
            steps=size.steps,
            lr_at=_decay(size),
            progress=progress,
            description="pre-train",
            snapshot=snapshot,
        )
        _finish(
            directory,
            model,
            data.tokenizer,
            snapshot,
            stage="base",
            seed=seed,
            size=asdict(size),
            history=[asdict(r) for r in history],
        )

    return load_checkpoint(
        store.cached(
            "base",
            make,
            key={
                "size": asdict(size),
                "model": profile.model,
                "machine": machine.arithmetic(),
                "seed": seed,
                "corpus": data.dir.name,
            },
            sources=("config", "model", "optim", "train"),
            root=store.artifacts_root(profile.name),
        )
        / "model"
    )


@dataclass(frozen=True)
class SFTData:
    rows: list[dict]  # {"messages", "tools", "kind"}
    heldout: list  # tasks that no row shares
    statistics: dict  # what the filter accepted and why it rejected
    dir: Path


def sft_data(profile: Profile, seed: int = 0, progress: Progress | None = None) -> SFTData:
    """Filtered tool-use trajectories, worked mathematics and short answers, as conversations."""
    data = corpus(profile, seed, progress)
    size = profile.agentic

    def make(directory: Path) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        kept, statistics = trajectories.generate(
            size.tasks, seed, max_turns=size.max_turns, per_domain=size.per_domain, progress=progress
        )
        rows = [t.row() | {"kind": "tool use"} for t in kept]
        rows += [
            {"kind": "mathematics", "messages": arithmetic.conversation(p, talkative=i % 5 < TALKATIVE), "tools": []}
            for i, p in enumerate(arithmetic.problems(len(kept), seed, "train", profile.corpus.largest_number))
        ]
        asked, _ = data.world.split()
        rows += [
            {
                "kind": "knowledge",
                "tools": [],
                "messages": [{"role": "user", "content": qa.question}, {"role": "assistant", "content": qa.answer}],
            }
            for person in asked
            for qa in data.world.questions(person)
        ][: len(kept) // 2]
        (directory / "rows.jsonl").write_text("".join(json.dumps(r) + "\n" for r in rows), encoding="utf-8")
        (directory / "statistics.json").write_text(json.dumps(statistics), encoding="utf-8")

    path = store.cached(
        "sft-data",
        make,
        key={"size": asdict(size), "seed": seed, "corpus": data.dir.name, "talkative": TALKATIVE},
        sources=("synth", "llm", "corpus"),
        root=store.artifacts_root(profile.name),
    )
    rows = [json.loads(line) for line in (path / "rows.jsonl").read_text(encoding="utf-8").splitlines()]
    heldout = tasks.generate(size.heldout_tasks, seed, split="heldout", per_domain=size.per_domain)
    return SFTData(rows, heldout, json.loads((path / "statistics.json").read_text(encoding="utf-8")), path)


def sft(profile: Profile, seed: int = 0, progress: Progress | None = None) -> Checkpoint:
    """The base model, fine-tuned on the conversations."""
    start, data, size = base(profile, seed, progress), sft_data(profile, seed, progress), profile.sft

    def make(directory: Path) -> None:
        rows, too_long = finetune.encode_rows(data.rows, start.tokenizer, size.seq_len)
        optimizer = MuonClip.for_model(start.model, lr=size.lr, tau=size.qk_clip_tau)
        snapshot = _snapshot(profile, "sft", directory)
        history = train(
            start.model,
            optimizer,
            finetune.batches(rows, size.batch_size, start.tokenizer.pad_id, seed),
            steps=size.steps,
            lr_at=_decay(size),
            progress=progress,
            description="fine-tune",
            snapshot=snapshot,
        )
        _finish(
            directory,
            start.model,
            start.tokenizer,
            snapshot,
            stage="sft",
            seed=seed,
            size=asdict(size),
            rows=len(rows),
            too_long=too_long,
            history=[asdict(r) for r in history],
        )

    return load_checkpoint(
        store.cached(
            "sft",
            make,
            key={
                "size": asdict(size),
                "machine": machine.arithmetic(),
                "base": start.dir.parent.name,
                "data": data.dir.name,
                "seed": seed,
            },
            sources=("model", "optim", "train", "llm"),
            root=store.artifacts_root(profile.name),
        )
        / "model"
    )


def rl(profile: Profile, seed: int = 0, run: int = 0, progress: Progress | None = None) -> Checkpoint:
    """The fine-tuned model after reinforcement learning; `run` is the seed of the RL alone, `training` holds its history.

    Fresh problems: their seed differs from the fine-tuning's, and the held-out ones are disjoint from both.
    """
    start, data, size = sft(profile, seed, progress), sft_data(profile, seed, progress), profile.rl
    kinds = {"per_domain": profile.agentic.per_domain, "largest": profile.corpus.largest_number}

    def make(directory: Path) -> None:
        rows, _ = finetune.encode_rows(data.rows, start.tokenizer, profile.sft.seq_len)
        ptx = finetune.batches(rows, size.prompts, start.tokenizer.pad_id, run)(0)
        problems = verifiable(size.candidates, 1000 + run, "train", **kinds)
        heldout = verifiable(size.heldout, seed, "heldout", **kinds)
        result = train_rl(
            start.model,
            start.tokenizer,
            problems,
            heldout,
            ptx,
            size,
            seed=run,
            progress=progress,
        )
        save_checkpoint(
            directory / "model",
            start.model,
            start.tokenizer,
            {"stage": "rl", "seed": seed, "run": run, "kinds": [p.kind for p in heldout]} | asdict(result),
        )

    return load_checkpoint(
        store.cached(
            f"rl{run}",
            make,
            key={
                "size": asdict(size),
                "machine": machine.arithmetic(),
                "sft": start.dir.parent.name,
                "problems": kinds,
                "seed": seed,
                "run": run,
            },
            sources=("model", "optim", "train", "llm", "rl", "synth", "corpus"),
            root=store.artifacts_root(profile.name),
        )
        / "model"
    )


def clip_study(profile: Profile, seed: int = 0, progress: Progress | None = None) -> dict[str, list[dict]]:
    """Plain Muon against MuonClip at a learning rate that hurts: `k2lib.train.studies.clip_study` on the corpus."""
    data = corpus(profile, seed, progress)
    return _measured(
        "clip-study",
        profile,
        seed,
        data,
        profile.clip,
        lambda: studies.clip_study(config(profile), data.dataset, profile.clip, progress),
    )


def fp8_study(profile: Profile, seed: int = 0, progress: Progress | None = None) -> list[dict[str, list[float]]]:
    """Losses with and without FP8 storage: `k2lib.memory.study.loss_curves` on the corpus."""
    data = corpus(profile, seed, progress)
    return _measured(
        "fp8-study",
        profile,
        seed,
        data,
        profile.memory,
        lambda: loss_curves(config(profile), data.dataset, profile.memory, profile, progress or _plain),
    )


def _measured(name: str, profile: Profile, seed: int, data: Corpus, size, measure: Callable[[], object]):
    """A study's numbers, stored as JSON like any stage."""
    path = store.cached(
        name,
        lambda directory: (directory / "result.json").write_text(json.dumps(measure())),
        key={
            "size": asdict(size),
            "model": profile.model,
            "machine": machine.arithmetic(),
            "seed": seed,
            "corpus": data.dir.name,
        },
        sources=("config", "model", "optim", "train", "memory"),
        root=store.artifacts_root(profile.name),
    )
    return json.loads((path / "result.json").read_text(encoding="utf-8"))


def _documents(profile: Profile, world: World, seed: int) -> Iterator[Document]:
    size = profile.corpus
    yield from user_documents()
    yield from stdlib.stdlib_documents(size.stdlib_bytes)
    yield from world.documents(size.documents_per_person, seed)
    yield from arithmetic.documents(size.math_problems, seed, size.largest_number)


def _tool_declarations() -> Iterator[str]:
    """Declared tools and calls, so that the tokenizer has seen the JSON that fine-tuning is full of."""
    kept, _ = trajectories.generate(400, seed=1)
    for trajectory in kept:
        row = trajectory.row()
        yield chat.render(row["messages"], row["tools"])


def _decay(size) -> Callable[[int], float]:
    return lambda step: schedule.wsd(step, lr=size.lr, warmup=size.warmup, total=size.steps)


def _snapshot(profile: Profile, stage: str, directory: Path) -> Snapshot:
    return Snapshot(store.artifacts_root(profile.name) / "snapshots" / f"{stage}-{directory.name}.pt")


def _finish(directory: Path, model: K2Model, tokenizer: Tokenizer, snapshot: Snapshot, **training) -> None:
    save_checkpoint(directory / "model", model, tokenizer, training)
    snapshot.path.unlink(missing_ok=True)


def _plain(iterable: Iterable, _description: str, _total: int | None) -> Iterable:
    return iterable
