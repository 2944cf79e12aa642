"""Puzzles, tables, Morse: every reference is right, what is no solution is not rewarded, and levels and splits are what they say."""

import re

import pytest

from k2lib.gym.morse import CODE, Morse, coded, morse
from k2lib.gym.puzzles import PUZZLES, Reasoning, reasoning
from k2lib.gym.tables import Table, tables

pytest.importorskip("reasoning_gym")


@pytest.mark.parametrize("name", PUZZLES)
def test_every_reference_is_right_at_every_level_and_nothing_else_is(name):
    for level in range(len(PUZZLES[name].levels)):
        for one in reasoning(3, 1, "train", [name], level):
            assert one.demonstration()["verdict"]["passed"] and one.kind == name
            for wrong in HOSTILE:
                assert not one.right(wrong), (one.asks, wrong)
            for around in ("{}, or 7", "{}\n{}", "I think so: {} (not sure)", "not {}"):
                assert not one.right(around.format(one.answer, one.answer)) or PUZZLES[name].form is None


HOSTILE = [
    "",
    " ",
    "24",
    "[answer]",
    "all of the above",
    "__import__('os').system('touch /tmp/k2-was-here')",
    "(" * 300 + "99887766" + ")" * 300,
    "9**9**9**9",
    "1+" * 400 + "1",
    "Yes or No",
    "A=8765," * 500,
    "nan",
    "\x00",
    "１２",
]


def test_the_24_game_wants_the_given_numbers_once_and_exactly_24():
    """The library's own scorer takes any four numbers of the range, and cuts 24.5 to 24."""
    one = reasoning(1, 0, "train", ["24 game"], 0)[0]
    given = sorted(one._entry["metadata"]["numbers"])
    assert one.right(one.answer) and one.right(f"({one.answer})")
    cheats = [
        text
        for text in ("4*3*2*1", "4*4+4+4", "(4+2)*4*1", "3*4*2*1", "8*3")
        if sorted(re.findall(r"\d", text)) != list(map(str, given))
    ]
    assert len(cheats) >= 3 and not any(map(one.right, cheats))
    assert not one.right(one.answer.replace("*", "**"))
    assert not one.right(one.answer + "+0") and not one.right("+".join(map(str, given)) + "+0.5")


def test_countdown_uses_every_number_once():
    one = reasoning(1, 0, "train", ["countdown"], 0)[0]
    target = one._entry["metadata"]["target"]
    assert (
        not one.right(str(target)) and not one.right(f"{target}+0") and not one.right(f"{one.answer}+{target}-{target}")
    )


def test_levels_get_harder_and_questions_are_of_their_split():
    easy, hard = (reasoning(8, 0, "train", ["sums"], level) for level in (0, 2))
    assert max(len(one.asks) for one in easy) < min(len(one.asks) for one in hard)
    parts = {split: {one.asks for one in reasoning(30, 0, split, ["equations"], 1)} for split in ("train", "test")}
    assert not parts["train"] & parts["test"]
    mixed = reasoning(len(PUZZLES), 0)
    assert [one.kind for one in mixed] == list(PUZZLES)
    assert reasoning(5, 3) == reasoning(5, 3) != reasoning(5, 4)


def test_an_unknown_puzzle_is_refused():
    with pytest.raises(ValueError, match="unknown puzzle 'chess'"):
        reasoning(1, 0, names=["chess"])


def test_questions_that_no_split_holds_are_refused(monkeypatch):
    monkeypatch.setattr("k2lib.gym.puzzles.side", lambda *_: "train")
    with pytest.raises(ValueError, match="too few questions"):
        reasoning(1, 0, "test", ["sums"])


def test_tables_are_answered_by_their_rows():
    people = "name | city | books | hours | points\nAda | Lyon | 3 | 20 | 500\nBen | Bari | 9 | 30 | 400\n"
    one = Table(people + "\nWho has the most books? Answer with the name.", "Ben")
    assert one.right("Ben") and one.right("Ben.") and not one.right("Ada") and not one.right("Ben or Ada")
    for level in range(3):
        for one in tables(20, 0, level=level):
            assert one.demonstration()["verdict"]["passed"] and not one.right("") and not one.right("Ada, Ben, Cleo")
    assert "country" in tables(1, 0, level=1)[0].asks and "country" not in tables(1, 0, level=0)[0].asks


def test_the_answers_of_tables_are_worked_out_anew():
    """From the text alone, by another way than the generator's."""
    for one in tables(60, 5):
        first, *rest = one.asks.split("\n\n")
        rows = [line.split(" | ") for line in first.splitlines()]
        people = [dict(zip(rows[0], row, strict=True)) for row in rows[1:]]
        lands = dict(line.split(" | ") for line in rest[0].splitlines()[1:]) if len(rest) > 1 else {}
        question = rest[-1]
        column = next(name for name in ("books", "hours", "points") if name in question)
        where = match[1] if (match := re.search(r"people of (\w+)", question)) else None
        within = [p for p in people if where in (None, p["city"], lands.get(p["city"]))]
        most = max(within, key=lambda p: int(p[column]))
        if question.startswith("How many people"):
            bound = int(question.split("more than ")[1].split()[0])
            found = str(sum(int(p[column]) > bound for p in people))
        elif question.startswith("How many"):
            found = str(sum(int(p[column]) for p in within))
        else:
            found = lands[most["city"]] if "country" in question.split("?")[0] else most["name"]
        assert found == one.answer, one.asks


def test_morse_both_ways():
    assert coded("SOS") == "... --- ..." and len(CODE) == 36
    assert Morse("SOS", True).right("... --- ...") and Morse("SOS", False).right("SOS")
    for wrong in ("", "sos", "... --- ...", "SOS SOS", "S O S", "... --- ... ..."):
        assert not Morse("SOS", False).right(wrong)
    both = morse(40, 0)
    assert {one.sent for one in both} == {True, False} and len({one.text for one in both}) > 30
    assert not {one.text for one in morse(200, 0)} & {one.text for one in morse(200, 0, "test")}
    assert isinstance(both[0], Morse) and not isinstance(both[0], Reasoning)
