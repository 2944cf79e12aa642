"""Fine-tunings of the base model that differ in one thing: the filter, the tools, the optimizer, a share of old text (section 3.1).

Every arm has as many conversations and steps, and the same mathematics and short questions beside them. All go by `k2 sft`'s
own way (`k2lib.train.sft`), and one examination asks them all.
"""

import json
import random
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from k2lib.agents import forms, production
from k2lib.agents.executed import ScriptedToolAgent
from k2lib.agents.servers import PACKAGES, have
from k2lib.corpus import arithmetic
from k2lib.evaluate import suite
from k2lib.gym.knowledge import Knowledge
from k2lib.gym.mathematics import Mathematics
from k2lib.gym.tool_use import ToolUse
from k2lib.llm.local import LocalChat
from k2lib.llm.protocol import ChatError, Reply, Usage
from k2lib.profiles import Profile
from k2lib.progress import Progress, silent
from k2lib.sandbox import unavailable
from k2lib.stages.base import base
from k2lib.stages.corpus import Corpus, corpus
from k2lib.stages.sft_data import SFTData, sft_data
from k2lib.stages.stage import stage
from k2lib.synth import rephrase
from k2lib.train import Checkpoint, load_checkpoint
from k2lib.train.sft import Settings, fine_tune

WINDOWS, WINDOW = 400, 256  # sequences of pre-training's text, and the tokens of each


@dataclass(frozen=True)
class Arm:
    rows: str = "kept"  # or "unfiltered", "executed", "both"
    optimizer: str = "muonclip"
    text: float = 0.0  # share of the loss that is pre-training's text


ARMS = {
    "kept": Arm(),
    "unfiltered": Arm(rows="unfiltered"),
    "executed": Arm(rows="executed"),
    "simulated and executed": Arm(rows="both"),
    "AdamW": Arm(optimizer="adamw"),
    "with 30% text": Arm(text=0.3),
}


def servers() -> list[str]:
    """Real servers that are here, and the interpreter; none where no sandbox works."""
    return [] if unavailable() else [*(name for name in PACKAGES if have(name)), forms.PYTHON]


def arm(profile: Profile, name: str, seed: int, run: int, progress: Progress = silent) -> dict:
    """What `examined` says of the arm `name` of ARMS, fine-tuned; `run` draws and shuffles its rows."""
    size, one, found = profile.arms, ARMS[name], servers()
    data, start = sft_data(profile, seed, progress), base(profile, seed, progress)
    text = corpus(profile, seed, progress)

    def make(directory: Path) -> None:
        rate = size.adamw if one.optimizer == "adamw" else size.muon
        sizes = {"steps": size.steps, "batch_size": size.batch_size, "seq_len": size.seq_len, "warmup": size.warmup}
        settings = Settings(lr=rate, optimizer=one.optimizer, mix=one.text, validation=0.0, seed=seed + run, **sizes)
        rows, model = drawn(data, one.rows, size.rows, found, seed + run), directory / "model"
        fine_tune(start.dir, rows, model, settings, texts=_texts(text, seed + run), progress=progress)
        result = examined(load_checkpoint(model), profile, data, text, found, seed)
        (directory / "result.json").write_text(json.dumps(result), encoding="utf-8")

    key = {"size": asdict(size), "arm": asdict(one), "servers": found, "base": start.dir.parent.name}
    key |= {"data": data.dir.name, "seed": seed, "run": run, "judged_on": profile.judged_on}
    return json.loads((stage(f"arm-{run}", key, make) / "result.json").read_text(encoding="utf-8"))


def untouched(profile: Profile, seed: int, progress: Progress = silent) -> dict:
    """The same of the base model, asked in the form of its corpus."""
    data, text = sft_data(profile, seed, progress), corpus(profile, seed, progress)
    return examined(base(profile, seed, progress), profile, data, text, [], seed, corpus_form=True)


def drawn(data: SFTData, kind: str, count: int, found: list[str], seed: int) -> list[dict]:
    """`count` conversations with tools of one kind, and half as many about mathematics and people.

    ValueError if there are fewer than `count`, or if really executed ones are wanted where no sandbox works.
    """
    rng = random.Random(f"arms/{seed}")
    kept = [row for row in data.rows if row["kind"] == "tool use"]
    others = [row for row in data.rows if row["kind"] != "tool use"]
    pool = kept + data.rejected if kind == "unfiltered" else kept
    wanted = {"executed": 0, "both": count - count // 2}.get(kind, count)
    if len(pool) < wanted:
        raise ValueError(f"{wanted} conversations are wanted and {len(pool)} are there; raise tasks, or lower rows")
    if wanted < count and not found:
        raise ValueError(
            f"{count - wanted} really executed conversations are wanted and no sandbox works here; set up bubblewrap"
        )
    rows = rng.sample(pool, wanted) + rng.sample(others, min(len(others), count // 2))
    return rows + list(_executed(found, count - wanted, seed))


def _executed(found: list[str], count: int, seed: int) -> Iterator[dict]:
    """`count` conversations of the scripted agent on real servers, as many on each."""
    for place, server in enumerate(found):
        share = count // len(found) + (place < count % len(found))
        yield from rephrase.run(production.on_server(server, forms.wishes(server, share, seed), ScriptedToolAgent()))


def _texts(text: Corpus, seed: int) -> list[str]:
    rows = next(text.dataset.batches(WINDOWS, WINDOW, seed=seed, start_step=0))
    return [text.tokenizer.decode(row.tolist()) for row in rows]


def examined(
    one: Checkpoint,
    profile: Profile,
    data: SFTData,
    text: Corpus,
    found: list[str],
    seed: int,
    corpus_form: bool = False,
) -> dict:
    """{"done", "valid": [held-out task], "executed": [real task], "mathematics", "knowledge": [question], "perplexity"}."""
    size, split, pair = profile.arms, profile.judged_on, (one.model, one.tokenizer)
    done, valid = suite.tool_use(*pair, data.heldout[: size.asked])
    sums = [Mathematics(p) for p in arithmetic.problems(size.asked, seed, split, profile.corpus.largest_number)]
    people = [Knowledge(qa) for person in text.world.of("train") for qa in text.world.questions(person)]
    people = random.Random(seed).sample(people, min(size.asked, len(people)))
    tokens = text.dataset.tokens("heldout")[: profile.evaluate.perplexity_tokens]
    return {
        "done": done.per_item,
        "valid": valid.per_item,
        "executed": [played for server in found for played in _played(server, one, size.executed, seed)],
        "mathematics": suite.solved(*pair, sums, corpus_form).per_item,
        "knowledge": suite.solved(*pair, people, corpus_form).per_item,
        "perplexity": suite.perplexity(one.model, tokens, profile.pretrain.seq_len).value,
    }


def _played(server: str, one: Checkpoint, count: int, seed: int) -> list[bool]:
    """Whether the model does tasks on a real server that it did not train on."""
    wishes = forms.wishes(server, count, seed + 1_000_000)
    rows = rephrase.run(production.on_server(server, wishes, _Agent(one.model, one.tokenizer)))
    return [row["verdict"]["passed"] for row in rows]


class _Agent(LocalChat):
    """A conversation that outgrows the model's positions ends there, and its task is not done."""

    async def complete(self, messages: list[dict], **settings) -> Reply:
        try:
            return await super().complete(messages, **settings, max_tokens=ToolUse.budget)
        except ChatError:
            return Reply({"role": "assistant", "content": ""}, "length", Usage(0, 0), self.model)
