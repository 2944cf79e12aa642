"""Rephrasing and the mechanical fidelity check."""

import random
import re

import pytest

from k2lib import closure
from k2lib.corpus.world import STYLES, World, phrases
from k2lib.llm import ChatError, ScriptedChat
from k2lib.llm.protocol import Reply, Usage
from k2lib.report.show import inert
from k2lib.synth import fidelity, rephrase
from k2lib.synth.corruptions import corrupt
from k2lib.synth.fidelity import verify
from k2lib.synth.probes import probes

WORLD = World.generate(0, 40)
RNG = random.Random(0)
SOURCES = [WORLD.document(p, RNG.choice(STYLES), RNG) for p in WORLD.people[:30]]
WANTED = [(source, style) for source in SOURCES for style in rephrase.styles()]
FLAT = rephrase.run(rephrase.rephrase_all(ScriptedChat(0), WANTED))
REWRITES = [FLAT[at : at + len(rephrase.styles())] for at in range(0, len(FLAT), len(rephrase.styles()))]


def test_there_are_at_least_ten_styles_each_with_an_intent():
    assert len(rephrase.styles()) >= 10
    assert all("intent:" in (rephrase.PROMPTS / f"{s}.md").read_text() for s in rephrase.styles())
    with pytest.raises(ValueError, match="'haiku'"):
        rephrase.run(rephrase.rephrase(ScriptedChat(), "x.", "haiku"))


def test_scripted_rewrites_are_faithful_different_and_labelled():
    flat = [(source, v) for source, versions in zip(SOURCES, REWRITES, strict=True) for v in versions]
    assert sum(v.verdict.faithful for _, v in flat) / len(flat) > 0.97
    assert all(v.text != source and v.model == "scripted" for source, v in flat)
    assert (
        rephrase.run(rephrase.rephrase(ScriptedChat(0), SOURCES[0], "letter")).text
        == REWRITES[0][rephrase.styles().index("letter")].text
    )


@pytest.mark.parametrize("kind", ["wrong name or number", "added fact", "negation", "refusal", "cut short"])
def test_what_can_be_counted_is_caught(kind):
    facts = [{f.relation: f.value for f in WORLD.facts(p)} for p in WORLD.people]
    wrong = [
        not verify(s, corrupt(kind, v[0].text, facts[i], facts[i + 1], RNG)).faithful
        for i, (s, v) in enumerate(zip(SOURCES, REWRITES, strict=True))
    ]
    assert sum(wrong) / len(wrong) >= 0.9


@pytest.mark.parametrize(
    "source, rewrite, words",
    [
        ("He paid 12 euros.", "He paid 13 euros.", "number 12 is missing"),
        ("We met Anna in Oslo.", "We met Anna in Rome.", "name Oslo"),
        ("We met Anna in Oslo.", "We met Anna with Boris in Oslo.", "name Boris is new"),
        ("It began on 3 May 1920 with 4 people.", "It began on 4 May 1920 with 3 people.", "date "),
        ("He paid 12 euros and 3 dollars.", "He paid 3 euros and 12 dollars.", "amount "),
        (
            "The old mill burned down. The baker sold warm bread.",
            "The old mill burned down, as everybody in the whole valley knew.",
            "nothing is left of the sentence",
        ),
        ("Paris is large and old.", "The city is large and old.", "name Paris is missing"),
        ("Ada Novak paints. She is old.", "A woman paints. She is old.", "name Ada is missing"),
        ("It is safe.", "It is not safe.", "negations"),
        ("A long tale of many things and more. " * 5, "Short.", "length"),
        ("One fine day it rained a lot here.", "One fine day it rained a", "middle of a sentence"),
        (
            "The cat sat on a mat near the old door.",
            "As an AI I cannot do that. The cat sat on a mat near the old door.",
            "refuses",
        ),
        ("The cat sat on a mat near the door.", "<text>The cat sat on the mat by a door.</text>", "instructions"),
        ("The cat sat on a mat near the old door.", "The cat sat on a mat near the old door.", "copy"),
    ],
)
def test_each_reason_is_given(source, rewrite, words):
    verdict = verify(source, rewrite)
    assert not verdict.faithful
    assert any(words in reason for reason in verdict.reasons), verdict


@pytest.mark.parametrize("opener", ["Readers", "Postscript", "Chronicle", "Viewers", "Bulletin"])
def test_a_word_that_merely_opens_a_sentence_is_no_name(opener):
    assert verify(
        f"{opener} of the tale know the old river well.", "All who know the tale know the old river well."
    ).faithful


def test_the_check_knows_nothing_of_the_writer_it_checks():
    words = {w for patterns in phrases.OPENINGS.values() for p in patterns for w in re.findall(r"[A-Z][a-z]+", p)}
    general = {"Dear", "Sir", "Let", "We", "Here", "You", "From", "Have", "Who", "Tell"}  # of any English text
    assert not (words - general) & fidelity._NAMELESS
    assert not any("corpus" in file.parts for file in closure.closure("k2lib.synth.fidelity"))


def test_a_long_document_is_rewritten_piece_by_piece_with_context_and_what_was_written():
    class Recorder:
        model = "recorder"

        def __init__(self):
            self.requests = []

        async def complete(self, messages, **_):
            self.requests.append(messages[-1]["content"])
            return Reply({"role": "assistant", "content": f"part {len(self.requests)}."}, "stop", Usage(), self.model)

    text = " ".join(f"Sentence number {i} says something of moderate length about topic {i}." for i in range(120))
    recorder = Recorder()
    out = rephrase.run(rephrase.rephrase(recorder, text, "summary"))
    assert len(recorder.requests) > 5
    assert "part 1. part 2." in recorder.requests[2]
    assert all("Sentence number 119" in r for r in recorder.requests)
    assert out.text.startswith("part 1. part 2.")


def test_one_request_that_fails_for_good_costs_no_other():
    class Failing(ScriptedChat):
        def __init__(self, failing):
            super().__init__(0)
            self.failing = failing

        async def complete(self, messages, **settings):
            if any(f"Style: {style}" in messages[-1]["content"] for style in self.failing):
                raise ChatError("down")
            return await super().complete(messages, **settings)

    wanted = [(SOURCES[0], "letter"), (SOURCES[0], "diary")]
    letter, diary = rephrase.run(rephrase.rephrase_all(Failing(["letter"]), wanted))
    assert (letter.text, letter.verdict.reasons) == ("", ("no reply: down",)) and not letter.verdict.faithful
    assert diary.verdict.faithful and diary == REWRITES[0][rephrase.styles().index("diary")]
    with pytest.raises(ChatError, match="down"):
        rephrase.run(rephrase.rephrase_all(Failing(["letter", "diary"]), wanted))


def test_pieces_join_to_the_text():
    text = "One. Two two! Three?\nFour. " * 50
    assert "".join(rephrase.pieces(text, 100)) == text
    assert max(map(len, rephrase.pieces(text, 100))) <= 120


def test_model_text_is_shown_as_text():
    assert "<script>" not in inert("<script>alert(1)</script> **x** | \x1b[31m")
    assert "\x1b" not in inert("\x1b[31m")


def test_the_probes_are_two_hundred_good_and_two_hundred_bad_and_no_two_alike():
    found = probes()
    good, bad = [p for p in found if not p.wrong], [p for p in found if p.wrong]
    assert len(good) >= 200 and len(bad) >= 200
    kinds = {"changed relation", "swapped roles", "added fact", "dropped fact", "hedged fact", "quantity in words"}
    assert {p.wrong for p in bad} == kinds
    assert len({p.rewrite for p in found} | {p.source for p in found}) == len(found) + len({p.source for p in found})


def test_a_model_that_does_not_find_its_end_is_noticed():
    source = "Sea otters eat sea urchins, and sea urchins eat kelp. Hunters killed the otters off the coast."

    class Twice(ScriptedChat):
        async def complete(self, messages, **settings):
            assert settings["max_tokens"] < 200  # a short piece needs no long reply
            words = "Off the coast hunters killed the otters. Sea urchins eat kelp, and sea otters eat sea urchins."
            return Reply({"role": "assistant", "content": f"{words} {words.split('. ')[0]}."}, "stop", Usage(), "twice")

    assert rephrase.run(rephrase.rephrase(Twice(), source, "letter")).verdict.reasons == ("it says a sentence twice",)
