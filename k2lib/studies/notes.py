"""Does a model learn more mathematics from learning notes than from the pages they were made of? (section 2.2)

Every arm trains the same model on as many tokens, from the same pages: as they are, as notes, as notes of a careless writer with
and without the check; and beside the pages, notes of a German book as they are or in English. The examination asks stories whose
equations no text of training states.
"""

import random
import statistics
from collections import Counter
from collections.abc import Iterator

import numpy as np
import torch

from k2lib import machine
from k2lib.config import K2Config
from k2lib.corpus import arithmetic, lessons
from k2lib.corpus.arithmetic import MathProblem
from k2lib.corpus.packing import PackedDataset
from k2lib.corpus.tokenizer import Tokenizer
from k2lib.llm.tutor import TutorChat
from k2lib.model import K2Model
from k2lib.model.generate import sample
from k2lib.profiles import NotesSize, Profile
from k2lib.progress import Progress, silent
from k2lib.studies.study import Study
from k2lib.studies.teaching import teach
from k2lib.synth.notes import kind_of, written
from k2lib.synth.rephrase import run as until_done
from k2lib.train import Batch

PAGES, NOTES = "pages", "learning notes"
CARELESS, CHECKED = "careless notes", "careless notes, checked"
GERMAN, TRANSLATED = "pages and German notes", "pages and translated notes"
WRONG = 0.2  # of a careless writer's notes
LONGEST = 64  # tokens of an answer


def measure(config: K2Config, _dataset: PackedDataset | None, profile: Profile, run: int, progress: Progress) -> dict:
    """{"right": {arm: share of stories}, "dropped": {reason: notes}, "notes": how many were written, "shown": {form: a text}}."""
    size, seed = profile.notes, run + 1
    texts, dropped, count = until_done(forms(size, seed))
    tokenizer = Tokenizer.train([text for arm in (PAGES, NOTES, GERMAN) for text in texts[arm]], size.vocab_size)
    asked, right = stories(size.asked, seed, profile.judged_on, size.largest), {}
    for arm, of in texts.items():
        model = taught(
            config.replace(**size.model, vocab_size=size.vocab_size), of, tokenizer, size, seed, arm, progress
        )
        right[arm] = statistics.mean(examined(model, tokenizer, asked))
    shown = {
        "page": texts[PAGES][0],
        "learning note": texts[NOTES][0],
        "German": texts[GERMAN][-1],
        "English": texts[TRANSLATED][-1],
    }
    return {"right": right, "dropped": dropped, "notes": count, "shown": shown}


def stories(count: int, seed: int, split: str, largest: int) -> list[MathProblem]:
    """Problems of two steps: what a page does not say is the first of them. ValueError if numbers this small give too few."""
    found = [p for p in arithmetic.problems(16 * count, seed, split, largest) if len(p.equations) == 2]
    if len(found) < count:
        raise ValueError(f"{len(found)} stories of the split {split} with numbers up to {largest}, {count} are wanted")
    return found[:count]


async def forms(size: NotesSize, seed: int) -> tuple[dict[str, list[str]], dict[str, int], int]:
    """({arm: its texts}, {why a careless note was dropped: how many}, how many notes it wrote)."""
    rng = random.Random(f"forms/{seed}")
    problems, other = (stories(size.problems, s, "train", size.largest) for s in (seed, -seed))
    pages = [lessons.page(problem, rng) for problem in problems]
    german = [lessons.german_note(problem, rng) for problem in other]
    careful, careless = TutorChat(seed), TutorChat(seed, careless=WRONG)
    notes = [await written(careful, page, "learning-note", seed=seed) for page in pages]
    sloppy = [await written(careless, page, "learning-note", seed=seed) for page in pages]
    # a slip may state an equation that the examination asks; such a note is written with care
    sloppy = [
        bad if lessons.splits_of(bad.text) <= {"train"} else good for good, bad in zip(notes, sloppy, strict=True)
    ]
    translated = [await written(careful, text, "translation", seed=seed) for text in german]
    texts = {
        PAGES: pages,
        NOTES: [note.text for note in notes if not note.reasons],
        CARELESS: [note.text for note in sloppy],
        CHECKED: [note.text for note in sloppy if not note.reasons],
        GERMAN: pages + german,
        TRANSLATED: pages + [note.text for note in translated if not note.reasons],
    }
    dropped = Counter(kind_of(note.reasons[0]) for note in sloppy if note.reasons)
    return texts, dict(dropped), len(sloppy)


def taught(
    config: K2Config,
    texts: list[str],
    tokenizer: Tokenizer,
    size: NotesSize,
    seed: int,
    name: str,
    progress: Progress = silent,
) -> K2Model:
    """A model trained on `texts` for as many tokens as every other, in an order of its seed."""
    stream = [[*ids, tokenizer.eos_id] for ids in tokenizer.encode_batch(texts)]
    torch.manual_seed(seed)
    model = K2Model(config).to(machine.device())

    def batches(_start: int) -> Iterator[Batch]:
        rng, rest = np.random.default_rng(seed), np.empty(0, np.int64)
        need = size.batch_size * size.seq_len + 1
        while True:
            while len(rest) < need:
                rest = np.concatenate([rest, *(stream[i] for i in rng.permutation(len(stream)))])
            rows = [rest[r * size.seq_len :][: size.seq_len + 1] for r in range(size.batch_size)]
            yield Batch.from_sequences(torch.from_numpy(np.stack(rows)))
            rest = rest[need - 1 :]

    return teach(model, batches, size.steps, size.lr, size.warmup, f"{name}, seed {seed}", progress)


def examined(model: K2Model, tokenizer: Tokenizer, asked: list[MathProblem]) -> list[bool]:
    """Whether the greedy continuation of each question gives the right answer."""
    prompts = tokenizer.encode_batch([lessons.PROMPT.format(problem.question) for problem in asked])
    with machine.precision(model.embed_tokens.weight.device):
        said = sample(model.eval(), prompts, max_new_tokens=LONGEST, stop_tokens=(tokenizer.eos_id,))
    texts = [tokenizer.decode([t for t in one.tokens if t != tokenizer.eos_id]) for one in said]
    return [lessons.answer_of(text) == problem.answer for text, problem in zip(texts, asked, strict=True)]


def values(_profile: Profile, results: list[dict]) -> dict[str, list[float]]:
    """One number a seed for each claim: points of a hundred stories."""

    def gain(arm: str, over: str) -> list[float]:
        return [100 * (result["right"][arm] - result["right"][over]) for result in results]

    return {
        "learning-notes-help-mathematics": gain(NOTES, PAGES),
        "checked-notes-teach-more": gain(CHECKED, CARELESS),
        "translated-notes-teach-more": gain(TRANSLATED, GERMAN),
    }


STUDY = Study("01_data_rephrasing", "notes", measure, values, reads_corpus=False)
