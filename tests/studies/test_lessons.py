"""The studies of long documents and of learning notes: their measures can fail, their arms hold what their names say."""

import asyncio
import contextlib
import dataclasses
import itertools
import random

import pytest
import torch
from tiny_llama import save

from k2lib import K2Config, stages
from k2lib.corpus import arithmetic, lessons
from k2lib.corpus.tokenizer import Tokenizer
from k2lib.corpus.world import chronicle
from k2lib.corpus.world.chronicle import Coherence
from k2lib.model import K2Model
from k2lib.model.generate import Completion
from k2lib.profiles import SMOKE, ChunksSize
from k2lib.progress import silent
from k2lib.studies import chunks, notes

CONFIG = K2Config.preset("nano").replace(**SMOKE.notes.model)


def test_the_wanted_rewrite_is_coherent_and_each_fault_shows_in_its_own_measure():
    rng = random.Random(1)
    for short in (0, -1):
        told = chronicle.chronicle(rng, 3, 4)
        wanted = chronicle.rewritten(told, rng, short)
        assert chronicle.coherence(told, " ".join(wanted)) == Coherence(1, 1, 1, 1, 1)
        alone = chronicle.coherence(told, " ".join(chronicle.rewritten(told, rng, short, known=set())))
        assert alone == Coherence(1, 0, 1, 0, 0)
        assert chronicle.coherence(told, " ".join(wanted[:6])).kept == 0.5
        assert chronicle.coherence(told, " ".join(reversed(wanted))).ordered == 0
        parts = {part: one.name for one in told for part in one.name.split()}
        again = [
            " ".join(parts.get(w, w) for w in s.split()) if t.name not in s else s for s, t in _pairs(wanted, told)
        ]
        assert chronicle.coherence(told, " ".join(again)).introduced == 0
        first = told[0].name.split()
        swapped = [s.replace(first[0], "Nobody").replace(first[1], "") for s in wanted]
        assert chronicle.coherence(told, " ".join(swapped)).resolved == pytest.approx(8 / 12)
        other = chronicle.rewritten(told, rng, -1 - short)
        mixed = chronicle.coherence(told, " ".join([*wanted[:6], *other[6:]]))
        assert mixed.resolved == mixed.introduced == 1 and mixed.consistent < 1
        assert chronicle.coherence(told, "") == Coherence(0, 0, 0, 0, 0)


def _pairs(wanted, told):
    return zip(wanted, told, strict=True)


def test_a_document_tells_each_value_of_one_person_only():
    for seed in range(50):
        told = chronicle.chronicle(random.Random(seed), 3, 4)
        assert len({(one.relation, one.value) for one in told}) == len(told) == 12
        assert len({one.profession for one in told}) == len({one.name.split()[0] for one in told}) == 3
        assert sum(one.first for one in told) == 3 and told[0].first


def test_a_form_gives_what_its_name_says_and_nothing_else():
    told = chronicle.chronicle(random.Random(2), 3, 4)
    piece, before = told[3:6], ["Ada sings."]
    source = " ".join(chronicle.source(told))
    given = {form: chunks.prompt(form, told, piece, before) for form in chunks.FORMS}
    assert source in given[chunks.CHUNKED] and "Ada sings." in given[chunks.CHUNKED]
    assert source in given[chunks.UNAWARE] and "Ada sings." not in given[chunks.UNAWARE]
    assert source not in given[chunks.ISOLATED] and "Ada sings." not in given[chunks.ISOLATED]
    assert all(" ".join(chronicle.source(piece)) in text for text in given.values())


@pytest.fixture
def tiny(tmp_path, monkeypatch):
    """A language model of two layers where `k2 get smollm2` would have put its own."""
    texts = [e.prompt + e.reply for e in itertools.islice(chunks._examples(0, chunks.CHUNKED), 200)]
    save(tmp_path, texts, heads=2)
    monkeypatch.setattr(chunks.get, "path", lambda name: tmp_path)
    return tmp_path


SIZE = ChunksSize(asked=2, steps=4, batch_size=2, warmup=1, lr=3e-3, seeds=1)


def test_every_form_of_rewriting_is_measured(tiny):
    run = chunks.measure(CONFIG, None, dataclasses.replace(SMOKE, chunks=SIZE), 0, silent)
    assert set(run["scores"]) == set(chunks.FORMS) <= set(run["shown"])
    values = chunks.values(SMOKE, [run])
    assert set(values) == {"chunks-keep-coherence", "context-resolves-references", "pieces-beat-one-go"}


def test_without_the_model_the_study_says_what_to_get(tmp_path, monkeypatch):
    monkeypatch.setattr(chunks.get, "path", lambda name: tmp_path / name)
    with pytest.raises(RuntimeError, match="run `k2 get smollm2`"):
        chunks.measure(CONFIG, None, dataclasses.replace(SMOKE, chunks=SIZE), 0, silent)
    with pytest.raises(ValueError, match="no smoke size; choose study or gpu"):
        stages.study(chunks.STUDY, SMOKE)


def test_only_replies_are_learned(tiny):
    """The loss is the mean over the replies' tokens and their end, whatever the prompts and the padding are."""
    rewriter = chunks.Rewriter(tiny)
    examples = [chunks.Example("Text: The poet sings.\nAll:", "The poet Ada sings."), chunks.Example("All:", "Yes.")]
    found = rewriter._loss(examples).item()
    terms = []
    for one in examples:
        asked, said = rewriter._encode(one.prompt), [*rewriter._encode(f" {one.reply}"), rewriter.end]
        logits = rewriter.model(torch.tensor([asked + said])).logits[0].log_softmax(-1)
        terms += [-logits[len(asked) + i - 1, token].item() for i, token in enumerate(said)]
    assert found == pytest.approx(sum(terms) / len(terms), rel=1e-2)


def test_a_rewriter_learns_and_answers_alike_alone_and_among_others(tiny, monkeypatch):
    monkeypatch.setattr(chunks.machine, "precision", lambda where: contextlib.nullcontext())  # bfloat16 would blur it
    rewriter = chunks.Rewriter(tiny)
    examples = [chunks.Example(f"All {word}:", f"{word} {word}") for word in ("poet", "Oslo")]
    before = rewriter._loss(examples).item()
    rewriter.learn(dataclasses.replace(SIZE, steps=8), 1)
    assert rewriter._loss(examples).item() < before
    prompts = ["All:", "Excerpt: The poet Ada sings.\nWritten:\nText: The poet sings.\nPiece:"]
    assert rewriter.continued(prompts, 6)[0] == rewriter.continued(prompts[:1], 6)[0]


def test_a_perfect_writer_is_marked_as_perfect():
    """What is asked piece by piece comes together as one document."""
    told = [chronicle.chronicle(random.Random(s), 3, 4) for s in range(3)]
    wanted = {" ".join(chronicle.source(p)): (d, i) for d in told for i, p in enumerate(chunks._cut(d))}

    class Knowing:
        def continued(self, prompts, room):
            found = [wanted[text.rpartition("Text: ")[2].removesuffix("\nPiece:")] for text in prompts]
            return [" ".join(chronicle.rewritten(chunks._cut(d)[i], random.Random(0), 0)) for d, i in found]

    texts = chunks.rewrites(Knowing(), told, chunks.CHUNKED)
    assert all(chronicle.coherence(d, t) == Coherence(1, 1, 1, 1, 1) for d, t in zip(told, texts, strict=True))


def test_arms_of_the_notes_differ_in_what_their_name_says():
    size = dataclasses.replace(SMOKE.notes, problems=200)
    texts, dropped, count = asyncio.run(notes.forms(size, 1))
    assert len(texts[notes.PAGES]) == len(texts[notes.NOTES]) == len(texts[notes.CARELESS]) == count
    assert 0.6 * count < len(texts[notes.CHECKED]) < count and sum(dropped.values()) == count - len(
        texts[notes.CHECKED]
    )
    assert set(texts[notes.CHECKED]) <= set(texts[notes.CARELESS])
    assert "Lösung" in "".join(texts[notes.GERMAN]) and "Lösung" not in "".join(texts[notes.TRANSLATED])
    assert all(lessons.splits_of(text) <= {"train"} for arm in texts.values() for text in arm)


def test_an_answer_counts_if_it_is_the_right_number(monkeypatch):
    asked = arithmetic.problems(4, 0)
    tokenizer = Tokenizer.train(["Problem: Solution: Answer: 0123456789"], 300)
    said = [f" So. Answer: {asked[0].answer}", f" Answer: {int(asked[1].answer) + 1}", f" {asked[2].answer}", ""]
    replies = [Completion([*tokenizer.encode(text), tokenizer.eos_id]) for text in said]
    monkeypatch.setattr(notes, "sample", lambda *_, **__: replies)
    assert notes.examined(K2Model(CONFIG), tokenizer, asked) == [True, False, False, False]
