"""Is a long document better rewritten piece by piece with the whole excerpt as context? (section 2.2, Figure 4)

A language model that nobody of the kit trained, SmolLM2-135M, is taught for some minutes to rewrite pieces: with the excerpt and what
was written so far, with the excerpt alone, with nothing else, and short documents in one go. Then it is asked about long documents,
longer than any output it was taught on, of people it never met. Needs `k2 get smollm2`.
"""

import itertools
import random
import statistics
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from k2lib import machine
from k2lib.config import K2Config
from k2lib.corpus.packing import PackedDataset
from k2lib.corpus.world import chronicle
from k2lib.corpus.world.chronicle import Statement
from k2lib.llm import get
from k2lib.optim import schedule
from k2lib.profiles import ChunksSize, Profile
from k2lib.progress import Progress, silent
from k2lib.studies.study import Study

CHUNKED, UNAWARE, ISOLATED, WHOLE = "excerpt and what was written", "excerpt alone", "pieces alone", "in one go"
FORMS = (CHUNKED, UNAWARE, ISOLATED, WHOLE)
SHORT = 2  # pieces, at most, of a document that is rewritten in one go in training
PEOPLE, FACTS, SENTENCES = 3, 4, 3  # of a document; sentences of a piece
ROOM = 24  # tokens of a rewritten sentence; it takes fifteen


@dataclass(frozen=True)
class Example:
    prompt: str
    reply: str


class Rewriter:
    """A checkpoint that transformers reads, taught to rewrite."""

    def __init__(self, directory: Path):
        from transformers import AutoModelForCausalLM, AutoTokenizer

        self.tokenizer = AutoTokenizer.from_pretrained(directory)
        self.model = AutoModelForCausalLM.from_pretrained(directory, dtype=torch.float32).to(machine.device())
        self.end = self.tokenizer.eos_token_id

    def learn(self, size: ChunksSize, seed: int, progress: Progress = silent) -> None:
        """From examples of all forms, each seen once; only replies count. AdamW, as whoever made the model used."""
        torch.manual_seed(seed)
        optimizer = torch.optim.AdamW(self.model.train().parameters(), lr=size.lr, betas=(0.9, 0.95), weight_decay=0.0)
        streams = [_examples(seed, form) for form in FORMS]
        for step in progress(range(size.steps), f"rewriter, seed {seed}", size.steps):
            for group in optimizer.param_groups:
                group["lr"] = schedule.wsd(step, lr=size.lr, warmup=size.warmup, total=size.steps)
            # a batch is of one form, so that short ones are not padded to the long
            self._loss(list(itertools.islice(streams[step % len(FORMS)], size.batch_size))).backward()
            torch.nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
            optimizer.step()
            optimizer.zero_grad()

    def _loss(self, examples: list[Example]) -> Tensor:
        asked = [self._encode(one.prompt) for one in examples]
        said = [[*self._encode(f" {one.reply}"), self.end] for one in examples]
        tokens, seen = self._padded([a + b for a, b in zip(asked, said, strict=True)], left=False)
        place = torch.arange(tokens.shape[1], device=tokens.device)
        begin = torch.tensor([len(a) for a in asked], device=tokens.device)[:, None]
        counts = ((place >= begin) & seen.bool())[:, 1:]  # [B, T - 1]: a token of the reply comes next
        with machine.precision(tokens.device):
            hidden = self.model.model(input_ids=tokens, attention_mask=seen).last_hidden_state[:, :-1]
            logits = self.model.lm_head(hidden[counts])
        return cross_entropy(logits.float(), tokens[:, 1:][counts])

    @torch.no_grad()
    def continued(self, prompts: list[str], room: int) -> list[str]:
        """The most likely continuation of each, of `room` tokens at most."""
        tokens, seen = self._padded([self._encode(text) for text in prompts], left=True)
        with machine.precision(tokens.device):
            how = {"max_new_tokens": room, "do_sample": False, "eos_token_id": self.end, "pad_token_id": self.end}
            out = self.model.eval().generate(input_ids=tokens, attention_mask=seen, **how)
        return [self.tokenizer.decode(row, skip_special_tokens=True).strip() for row in out[:, tokens.shape[1] :]]

    def _encode(self, text: str) -> list[int]:
        return self.tokenizer.encode(text, add_special_tokens=False)

    def _padded(self, rows: list[list[int]], left: bool) -> tuple[Tensor, Tensor]:
        """(token ids, which of them are no padding), both [B, T]."""
        width = max(map(len, rows))
        tokens, seen = [], []
        for row in rows:
            pad, ones = [self.end] * (width - len(row)), [1] * len(row)
            tokens.append(pad + row if left else row + pad)
            seen.append([0] * len(pad) + ones if left else ones + [0] * len(pad))
        return torch.tensor(tokens, device=machine.device()), torch.tensor(seen, device=machine.device())


def measure(_config: K2Config, _dataset: PackedDataset | None, profile: Profile, run: int, progress: Progress) -> dict:
    """{"scores": {form: {measure: share}}, "shown": {"source", form: its rewrite of one document}}.

    RuntimeError if the model is not there.
    """
    if not get.have("smollm2"):
        raise RuntimeError("the study of long documents teaches SmolLM2, which is not here; run `k2 get smollm2`")
    size, seed = profile.chunks, run + 1
    rewriter = Rewriter(get.path("smollm2"))
    rewriter.learn(size, seed, progress)
    rng = random.Random(f"asked/{profile.judged_on}/{seed}")
    asked = [chronicle.chronicle(rng, PEOPLE, FACTS) for _ in range(size.asked)]
    scores, shown = {}, {"source": " ".join(chronicle.source(asked[0]))}
    for form in FORMS:
        texts = rewrites(rewriter, asked, form)
        found = [asdict(chronicle.coherence(one, text)) for one, text in zip(asked, texts, strict=True)]
        scores[form] = {name: statistics.mean(f[name] for f in found) for name in found[0]}
        shown[form] = texts[0]
    return {"scores": scores, "shown": shown}


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


def rewrites(rewriter: Rewriter, documents: list[list[Statement]], form: str) -> list[str]:
    """Each document rewritten in that form, all at once; what is written so far is the model's own."""
    steps = [[told] if form == WHOLE else _cut(told) for told in documents]
    written: list[list[str]] = [[] for _ in documents]
    for number in range(len(steps[0])):
        asked = [
            prompt(form, told, pieces[number], before)
            for told, pieces, before in zip(documents, steps, written, strict=True)
        ]
        for before, text in zip(written, rewriter.continued(asked, ROOM * len(steps[0][number])), strict=True):
            before.append(text)
    return [" ".join(pieces) for pieces in written]


def _cut(told: list[Statement]) -> list[list[Statement]]:
    return [told[at : at + SENTENCES] for at in range(0, len(told), SENTENCES)]


def values(_profile: Profile, results: list[dict]) -> dict[str, list[float]]:
    """One number a seed for each claim."""
    scores = [result["scores"] for result in results]
    return {
        "chunks-keep-coherence": [min(s[CHUNKED].values()) for s in scores],
        "context-resolves-references": [100 * (s[CHUNKED]["resolved"] - s[ISOLATED]["resolved"]) for s in scores],
        "pieces-beat-one-go": [100 * (s[CHUNKED]["resolved"] - s[WHOLE]["resolved"]) for s in scores],
    }


STUDY = Study("01_data_rephrasing", "chunks", measure, values, reads_corpus=False)
