"""`k2 sft`: any conversations, any checkpoint of K2's family; full-parameter, resumed bit for bit, with a validation split.

Every other thing is the caller's: which rows, how long, and whether a share of the loss stays with pre-training's text, which
heals what fine-tuning forgets.
"""

import hashlib
import itertools
import json
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import torch

from k2lib import machine
from k2lib.corpus.tokenizer import Tokenizer
from k2lib.llm import chat
from k2lib.model import K2Model
from k2lib.optim import MuonClip, schedule
from k2lib.progress import Progress, silent
from k2lib.train import finetune
from k2lib.train.batch import Batch
from k2lib.train.checkpoint import save_checkpoint
from k2lib.train.loop import train
from k2lib.train.snapshot import Snapshot

OPTIMIZERS = ("muonclip", "adamw")
EVERY_SECONDS = 60.0  # between two snapshots


@dataclass(frozen=True)
class Settings:
    steps: int = 200
    batch_size: int = 8  # packed sequences
    seq_len: int = 1024
    lr: float = 1e-3
    warmup: int = 10  # steps, at most the run's
    optimizer: str = "muonclip"
    mix: float = 0.0  # share of the loss that is pre-training's text
    validation: float = 0.05  # share of the rows
    seed: int = 0

    def check(self) -> None:
        """ValueError names the setting that makes no sense."""
        if self.optimizer not in OPTIMIZERS:
            raise ValueError(f"unknown optimizer {self.optimizer!r}; choose one of {', '.join(OPTIMIZERS)}")
        for name, least in (("steps", 1), ("batch_size", 1), ("seq_len", 2)):
            if getattr(self, name) < least:
                raise ValueError(f"{name} is {getattr(self, name)}; give at least {least}")
        for name in ("mix", "validation"):
            if not 0 <= getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}; give a share within [0, 1)")
        if not 0 < self.lr < float("inf"):
            raise ValueError(f"lr is {self.lr}; give a positive number")


def read(path: Path) -> list[dict]:
    """Rows {"messages", "tools"} of a .jsonl or .parquet file; other columns are left out, `tools` may be JSON text.

    FileNotFoundError, or ValueError with the row's number for one that the chat format does not take.
    """
    if not path.exists():
        raise FileNotFoundError(f"{path} does not exist; give a .jsonl or .parquet file with a column messages")
    rows = []
    for number, row in enumerate(_rows(path), 1):
        try:
            rows.append(_row(row))
            chat.segments(rows[-1]["messages"], rows[-1]["tools"], add_generation_prompt=False)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise ValueError(f"{path}, row {number}: {error}") from None
    if not rows:
        raise ValueError(f"{path} holds no rows")
    return rows


def fine_tune(
    source: Path,
    rows: list[dict],
    output: Path,
    settings: Settings,
    *,
    texts: list[str] | None = None,
    progress: Progress = silent,
) -> dict:
    """Fine-tunes the checkpoint `source` on rows and writes `output`; returns what is also in its training.json.

    `texts` are what `settings.mix` takes its share from. The same call goes on where a killed one stopped, to the same bits; its
    state lies beside the output until then. ValueError for rows that are all too long, or too few.
    """
    settings.check()
    if settings.mix and not texts:
        raise ValueError(f"mix is {settings.mix}; give the texts that it is a share of")
    model, tokenizer = K2Model.from_pretrained(source, device=machine.device()), Tokenizer.load(source)
    (training, held), too_long = _encoded(rows, tokenizer, settings)
    batches = finetune.batches(training, settings.batch_size, settings.seq_len, tokenizer.pad_id, settings.seed)
    if settings.mix:
        batches = mixed(batches, _windows(texts, tokenizer, settings.seq_len), settings.mix, settings.seed)
    before = validation_loss(model, held, tokenizer.pad_id)
    snapshot = Snapshot(output.with_name(f".{output.name}.{_key(source, rows, settings, texts)}.pt"), EVERY_SECONDS)
    how = {"steps": settings.steps, "lr_at": _rate(settings), "progress": progress, "snapshot": snapshot}
    history = train(model, _optimizer(model, settings), batches, description="fine-tune", **how)
    told = {
        "stage": "sft",
        "size": asdict(settings),
        "rows": len(training),
        "too_long": too_long,
        "validation_rows": len(held),
    }
    told |= {"validation": {"before": before, "after": validation_loss(model, held, tokenizer.pad_id)}}
    save_checkpoint(output, model, tokenizer, told | {"history": [asdict(record) for record in history]})
    snapshot.path.unlink(missing_ok=True)
    return told


def mixed(batches: Callable, windows: torch.Tensor, share: float, seed: int) -> Callable[[int], Iterator[Batch]]:
    """The batches with sequences of text [N, T + 1] added, a quarter as many, that together make `share` of the loss."""

    def stream(start: int) -> Iterator[Batch]:
        for step, batch in zip(itertools.count(start), batches(start), strict=False):
            drawn = torch.Generator().manual_seed(seed * 1_000_003 + step)
            some = windows[torch.randint(len(windows), (max(1, len(batch.tokens) // 4),), generator=drawn)]
            text = Batch.from_sequences(some)
            weight = share / (1 - share) * batch.weights.sum() / text.tokens.numel()
            weights = torch.full(text.tokens.shape, weight.item())
            starts = torch.zeros_like(text.tokens)
            added = (text.tokens, text.targets, weights, starts)
            yield Batch(*(torch.cat(pair) for pair in zip(batch, added, strict=True)))

    return stream


@torch.no_grad()
def validation_loss(model: K2Model, rows: list[finetune.Row], pad: int) -> float | None:
    """Mean loss over the trained tokens of the rows, in nats; None without rows."""
    total, count = 0.0, 0.0
    model.eval()
    for i in range(0, len(rows), 16):
        batch = Batch.from_ragged(rows[i : i + 16], pad).to(next(model.parameters()).device)
        with machine.precision(batch.tokens.device):
            weight = batch.weights.sum().item()
            total, count = total + model.loss(*batch).item() * weight, count + weight
    return total / count if count else None


def _encoded(rows: list[dict], tokenizer: Tokenizer, settings: Settings) -> tuple[tuple[list, list], int]:
    """((training rows, held-out rows), how many were too long); which are held out depends on each row alone."""
    sides: tuple[list, list] = ([], [])
    for row in rows:
        digest = hashlib.sha256(json.dumps(row, sort_keys=True).encode()).digest()
        sides[int.from_bytes(digest[:4], "big") < settings.validation * 2**32].append(row)
    found = [finetune.encode_rows(side, tokenizer, settings.seq_len) for side in sides]
    if not found[0][0]:
        raise ValueError(f"none of the {len(sides[0])} training rows fits {settings.seq_len} tokens; raise seq_len")
    return (found[0][0], found[1][0]), found[0][1] + found[1][1]


def _windows(texts: list[str], tokenizer: Tokenizer, seq_len: int) -> torch.Tensor:
    ids = [token for text in texts for token in [*tokenizer.encode(text), tokenizer.eos_id]]
    count = len(ids) // (seq_len + 1)
    if not count:
        raise ValueError(f"the text to mix in has {len(ids)} tokens, fewer than one sequence of {seq_len + 1}")
    return torch.tensor(ids[: count * (seq_len + 1)]).view(count, -1)


def _optimizer(model: K2Model, settings: Settings) -> torch.optim.Optimizer:
    if settings.optimizer == "adamw":
        return torch.optim.AdamW(model.parameters(), lr=settings.lr, betas=(0.9, 0.95), weight_decay=0.1)
    return MuonClip.for_model(model, lr=settings.lr)


def _rate(settings: Settings) -> Callable[[int], float]:
    return lambda step: schedule.wsd(
        step, lr=settings.lr, warmup=min(settings.warmup, settings.steps), total=settings.steps
    )


def _key(source: Path, rows: list[dict], settings: Settings, texts: list[str] | None) -> str:
    """Of all that the run depends on, so that another run's state is never taken up."""
    digest = hashlib.sha256(json.dumps([asdict(settings), rows, texts or []], sort_keys=True).encode())
    for file in sorted(source.glob("*.safetensors")):
        with file.open("rb") as handle:
            digest.update(hashlib.file_digest(handle, "sha256").digest())
    return digest.hexdigest()[:12]


def _rows(path: Path) -> Iterator[dict]:
    if path.suffix == ".parquet":
        import pyarrow.parquet as parquet

        yield from parquet.read_table(path).to_pylist()
        return
    if path.suffix != ".jsonl":
        raise ValueError(f"{path} ends in {path.suffix!r}; give .jsonl or .parquet")
    with path.open(encoding="utf-8") as file:
        for number, line in enumerate(file, 1):
            try:
                yield json.loads(line)
            except (ValueError, RecursionError) as error:
                raise ValueError(f"{path}, row {number}: {error}") from None


def _row(row: object) -> dict:
    """Messages without the empty columns of a table, and tools as a list."""
    if not isinstance(row, dict) or not isinstance(row.get("messages"), list):
        raise ValueError("want an object with a list of messages")
    messages = [{k: v for k, v in message.items() if v is not None} for message in row["messages"]]
    tools = row.get("tools") or []
    tools = json.loads(tools) if isinstance(tools, str) else tools
    if not isinstance(tools, list):
        raise ValueError(f"tools are {type(tools).__name__}; give a list, or JSON text of one")
    return {"messages": messages, "tools": tools}
