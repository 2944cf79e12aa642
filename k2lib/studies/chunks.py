"""Is a long document better rewritten piece by piece with the whole excerpt as context? (section 2.2, Figure 4)

A small model learns to rewrite pieces: with the excerpt and what was written so far, with the excerpt alone, with nothing else, and
short documents in one go. It is asked about long documents, longer than any output it was trained on, of people it never met.
"""

import itertools
import random
import statistics
from collections.abc import Iterator
from dataclasses import asdict, dataclass

import torch

from k2lib import machine
from k2lib.config import K2Config
from k2lib.corpus.packing import PackedDataset
from k2lib.corpus.tokenizer import Tokenizer
from k2lib.corpus.world import chronicle
from k2lib.corpus.world.chronicle import Statement
from k2lib.model import K2Model
from k2lib.model.generate import sample
from k2lib.profiles import ChunksSize, Profile
from k2lib.progress import Progress
from k2lib.studies.study import Study
from k2lib.studies.teaching import teach
from k2lib.train import Batch

CHUNKED, UNAWARE, ISOLATED, WHOLE = "excerpt and what was written", "excerpt alone", "pieces alone", "in one go"
FORMS = (CHUNKED, UNAWARE, ISOLATED, WHOLE)
TEMPERATURE = 0.7  # as `k2lib.synth.rephrase` asks
SHORT = 2  # pieces, at most, of a document that is rewritten in one go in training
PEOPLE, FACTS, SENTENCES = 3, 4, 3  # of a document; sentences of a piece


@dataclass(frozen=True)
class Example:
    prompt: str
    reply: str


def measure(config: K2Config, _dataset: PackedDataset | None, profile: Profile, run: int, progress: Progress) -> dict:
    """{"scores": {form: {measure: share}}, "shown": {"source", form: its rewrite of one document}}."""
    size, seed = profile.chunks, run + 1
    sample_of = itertools.islice(_examples(seed, CHUNKED), 1000)
    tokenizer = Tokenizer.train((one.prompt + one.reply for one in sample_of), size.vocab_size)
    model = rewriter(config.replace(**size.model, vocab_size=size.vocab_size), tokenizer, size, seed, progress)
    rng = random.Random(f"asked/{profile.judged_on}/{seed}")
    asked = [chronicle.chronicle(rng, PEOPLE, FACTS) for _ in range(size.asked)]
    scores, shown = {}, {"source": " ".join(chronicle.source(asked[0]))}
    for form in FORMS:
        texts = rewrites(model, tokenizer, asked, form)
        found = [asdict(chronicle.coherence(one, text)) for one, text in zip(asked, texts, strict=True)]
        scores[form] = {name: statistics.mean(f[name] for f in found) for name in found[0]}
        shown[form] = texts[0]
    return {"scores": scores, "shown": shown}


def rewriter(config: K2Config, tokenizer: Tokenizer, size: ChunksSize, seed: int, progress: Progress) -> K2Model:
    """A model trained on examples of all forms, each seen once; only its replies count."""
    torch.manual_seed(seed)
    model = K2Model(config).to(machine.device())

    def batches(_start: int) -> Iterator[Batch]:
        streams = [_examples(seed, form) for form in FORMS]
        for step in range(size.steps):  # a batch is of one form, so that short ones are not padded to the long
            rows = itertools.islice(streams[step % len(FORMS)], size.batch_size)
            yield Batch.from_ragged([_row(example, tokenizer) for example in rows], tokenizer.pad_id)

    return teach(model, batches, size.steps, size.lr, size.warmup, f"rewriter, seed {seed}", progress)


def _examples(seed: int, form: str) -> Iterator[Example]:
    """Pieces of ever new documents, in one form."""
    rng = random.Random(f"chunks/{seed}/{form}")
    while True:
        told, short = chronicle.chronicle(rng, PEOPLE, FACTS), rng.choice((0, -1))
        pieces = _cut(told)
        if form == WHOLE:
            some = told[: SENTENCES * rng.randint(1, SHORT)]
            yield Example(prompt(form, some, some, []), " ".join(chronicle.rewritten(some, rng, short)))
            continue
        at = rng.randrange(len(pieces))
        written = chronicle.rewritten([one for piece in pieces[:at] for one in piece], rng, short)
        known = {one.name for one in pieces[at] if one.first} if form == ISOLATED else None
        yield Example(
            prompt(form, told, pieces[at], written), " ".join(chronicle.rewritten(pieces[at], rng, short, known))
        )


def prompt(form: str, told: list[Statement], piece: list[Statement], written: list[str]) -> str:
    """What the rewriter is given: the excerpt and what is written, as far as the form gives them, and the piece itself."""
    text = " ".join(chronicle.source(piece))
    if form == WHOLE:
        return f"Text: {text}\nAll:"
    excerpt = " ".join(chronicle.source(told)) if form != ISOLATED else ""
    before = " ".join(written) if form == CHUNKED else ""
    return f"Excerpt: {excerpt}\nWritten: {before}\nText: {text}\nPiece:"


def rewrites(model: K2Model, tokenizer: Tokenizer, documents: list[list[Statement]], form: str) -> list[str]:
    """Each document rewritten in that form, all at once; what is written so far is the model's own."""
    steps = [[told] if form == WHOLE else _cut(told) for told in documents]
    written: list[list[str]] = [[] for _ in documents]
    for number in range(len(steps[0])):
        asked = [
            prompt(form, told, pieces[number], before)
            for told, pieces, before in zip(documents, steps, written, strict=True)
        ]
        room = 24 * len(steps[0][number])  # tokens; a sentence takes fifteen
        prompts = tokenizer.encode_batch(asked)
        with machine.precision(model.embed_tokens.weight.device):
            how = {"temperature": TEMPERATURE, "seed": number, "stop_tokens": (tokenizer.eos_id,)}
            said = sample(model, prompts, max_new_tokens=room, **how)
        for before, one in zip(written, said, strict=True):
            before.append(tokenizer.decode([t for t in one.tokens if t != tokenizer.eos_id]).strip())
    return [" ".join(pieces) for pieces in written]


def _cut(told: list[Statement]) -> list[list[Statement]]:
    return [told[at : at + SENTENCES] for at in range(0, len(told), SENTENCES)]


def _row(example: Example, tokenizer: Tokenizer) -> tuple[list[int], list[bool]]:
    asked, said = tokenizer.encode(example.prompt), [*tokenizer.encode(f" {example.reply}"), tokenizer.eos_id]
    return asked + said, [False] * len(asked) + [True] * len(said)


def values(_profile: Profile, results: list[dict]) -> dict[str, list[float]]:
    """One number a seed for each claim."""
    scores = [result["scores"] for result in results]
    return {
        "chunks-keep-coherence": [min(s[CHUNKED].values()) for s in scores],
        "context-resolves-references": [100 * (s[CHUNKED]["resolved"] - s[ISOLATED]["resolved"]) for s in scores],
        "pieces-beat-one-go": [100 * (s[CHUNKED]["resolved"] - s[WHOLE]["resolved"]) for s in scores],
    }


STUDY = Study("01_data_rephrasing", "chunks", measure, values, reads_corpus=False)
