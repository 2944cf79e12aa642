"""Instruction following: every constraint with a text that keeps it and texts that do not, and how one might get around it."""

import random
import time

import pytest

from k2lib.gym.constraints import LONGEST, TRAINED, WORDS, seen
from k2lib.gym.following import Following, following, public
from k2lib.gym.ifeval import PUBLIC, language

# name: (values, texts that keep it, texts that do not)
EXAMPLES = {
    "keyword": ({"word": "river"}, ["The River is old."], ["The rivers are old.", "No water."]),
    "keyword frequency": ({"word": "river", "n": 2}, ["River, river."], ["river riverside", "a river"]),
    "forbidden word": ({"word": "river"}, ["The riverside."], ["A RIVER.", ""]),
    "letter frequency": ({"letter": "a", "n": 3}, ["A banana"], ["a cat"]),
    "language": (
        {"name": "German"},
        ["Der Fluss ist alt und die Brücke nicht."],
        ["The river is old and so it is.", "Der"],
    ),
    "paragraphs": ({"n": 2}, ["one *** two"], ["one *** ", "one", "a *** b *** c"]),
    "words": ({"n": 3}, ["one two three"], ["one two", "... - -"]),
    "sentences": ({"n": 2}, ["One. Two!"], ["One. Two. Three.", "", "no end"]),
    "first word": (
        {"n": 2, "place": 2, "word": "river"},
        ["It is.\n\nriver water."],
        ["river.\n\nIt is.", "river", "It.\n\nA river.\n\nx"],
    ),
    "postscript": ({}, ["Yes.\nP.S. And no."], ["P.S.", "Yes. P.S. no line of its own"]),
    "placeholders": ({"n": 2}, ["[name] of [city]"], ["[name]", "[] []", "[[name]"]),
    "bullets": ({"n": 2}, ["* a\n* b", "Look:\n- a\n- b"], ["* a", "* a\n* b\n* c", "*\n*"]),
    "title": ({}, ["<<Rivers>>\nThey flow."], ["<< >>", "<Rivers>"]),
    "choice": ({}, ["My answer is yes."], ["My answer is yes. My answer is no.", "yes"]),
    "highlights": ({"n": 1}, ["so *very* old"], ["* a bullet", "**bold**", "2 * 3 * 4"]),
    "sections": ({"n": 2}, ["Section 1\na\nSection 2\nb"], ["Section 1\na", "Section 2\nSection 1"]),
    "JSON": ({}, ['{"a": 1}', "[]"], ["{a: 1}", "3", '{"a": 1} and more', "[" * 5000]),
    "two responses": ({}, ["yes ****** no"], ["yes ****** yes", "yes", "a ****** b ****** c"]),
    "capitals": ({}, ["ALL OF IT."], ["All", "123", ""]),
    "small letters": ({}, ["all of it."], ["All", "123"]),
    "capital words": ({"n": 2}, ["so VERY OLD it is"], ["VERY old", "I A X"]),
    "ending": ({"end": "That is all."}, ["So. That is all."], ["That is all. So.", "That is all. That is all."]),
    "quotation": ({}, ['"So it is."'], ['"So" it "is"', '""', "'So'"]),
    "no commas": ({}, ["So it is."], ["So, it is.", ""]),
    "repeat": ({"word": "river"}, ["The river is old. So it is."], ["The river is old.", "So. The river is old. x"]),
    "questions": ({"n": 2}, ["Why? How?"], ["Why?", "Why???"]),
    "initials": ({"letter": "s"}, ["So it is. Sure!"], ["So. It is.", "s", ""]),
    "lipogram": ({"letter": "e"}, ["A cat."], ["The cat.", ""]),
    "numbered": ({"n": 2}, ["1. a\n2. b"], ["1. a\n3. b", "1. a\n2. b\nmore", "1.\n2."]),
    "frame": ({}, ["Rain is rain."], ["Rain is wet.", "rain"]),
    "unrepeated": ({}, ["one two three four five"], ["one two three four one", "one two"]),
    "short words": ({"n": 5}, ["a river bends"], ["the garden is", "a"]),
    "multiple": ({"n": 3}, ["one two three"], ["one two", ""]),
    "even lines": ({"n": 2}, ["a b\nc d"], ["a b\nc", "a b", "\n"]),
    "growing": ({"n": 2}, ["One. One two."], ["One two. One.", "One. Two.", "One."]),
    "acrostic": ({"word": "at"}, ["a cat\nthe dog"], ["a cat", "at"]),
    "brackets": ({"n": 1}, ["so (very) old"], ["so (very very) old", "(a) (b)", "(very"]),
    "exclaimed": ({}, ["It is! So!"], ["It is. So!", "It is", "!"]),
    "placed": ({"n": 2, "word": "river"}, ["the river"], ["river the", "the"]),
}


def test_every_constraint_has_its_examples():
    assert set(EXAMPLES) == {*PUBLIC, *TRAINED} and len(PUBLIC) == 25 and not set(PUBLIC) & set(TRAINED)


@pytest.mark.parametrize("name", EXAMPLES)
def test_a_constraint_takes_what_keeps_it_and_nothing_else(name):
    values, right, wrong = EXAMPLES[name]
    one = Following("river", ((name, tuple(values.items())),))
    for text in right:
        assert one.right(text) and one.right(f"<!-- note -->\u200b{text}"), text
    for text in wrong:
        assert not one.right(text), text
    for cheat in (
        f"```\n{right[0]}\n```",
        f"<!-- {right[0]} -->",
        "(As asked: all constraints are kept, exactly.)" if name not in CLAIMED else "",
        "\u200b\u200b",
        None,
        "x" * 30_000,
    ):
        assert not one.right(cheat), cheat


CLAIMED = {
    "forbidden word",
    "letter frequency",
    "words",
    "lipogram",
    "multiple",
    "no commas",
    "unrepeated",
    "small letters",
    "sentences",
}


@pytest.mark.parametrize("name", TRAINED)
def test_every_trained_constraint_can_be_demonstrated(name):
    rng = random.Random(0)
    for _ in range(30):
        demands = ((name, tuple(TRAINED[name].draw(rng).items())),)
        one = Following(rng.choice(WORDS), demands)
        assert one.demonstration()["verdict"]["passed"], (one.asks, one.answer)


def test_questions_are_of_their_split_and_grow_by_level():
    trained, test = ({one.asks for one in following(200, 0, split)} for split in ("train", "test"))
    assert not trained & test
    assert [len(one.demands) for one in following(6, 0)] == [1, 2, 3, 1, 2, 3]
    assert {name for one in public(60, 0) for name, _ in one.demands} <= set(PUBLIC)
    assert all(len(one.demands) == 3 for one in following(5, 1, level=2))


def test_a_demonstration_that_no_text_gives_is_not_kept():
    verdicts = [one.demonstration()["verdict"] for one in following(90, 0, level=2)]
    assert any(not verdict["passed"] for verdict in verdicts)


def test_the_languages():
    assert language("Le fleuve est vieux et la ville aussi, pour les gens") == "French"
    assert language("El río es viejo y la ciudad también, para los demás") == "Spanish"


def test_what_is_seen():
    assert seen("a\u200bb") == "ab" and seen("x ``` hidden") == "x" and seen(7) == "" and seen("y <!-- z") == "y"


@pytest.mark.parametrize("piece", ["x", "a ", "<<a", "*a", "[a", "P.S. a", "1. ", "a.", "\n\n", "```", "<!--", "a'"])
def test_every_constraint_is_read_in_linear_time(piece):
    def seconds(n):
        text, begun = (piece * n)[:n], time.process_time()
        for name, (values, *_) in EXAMPLES.items():
            Following("river", ((name, tuple(values.items())),)).right(text)
        return time.process_time() - begun

    seconds(100)
    assert seconds(LONGEST) < 60 * max(seconds(LONGEST // 10), 5e-3)
