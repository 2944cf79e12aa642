"""Faithfulness: sentences in every wording of the grammar, right and wrong; precision and recall of the judge."""

import random

import pytest

from k2lib.corpus.world.phrases import SENTENCES
from k2lib.gym.faithful import SILENT, Faithful, faithful

ADA, BO = "Ada Novak", "Bo Lind"
FACTS = frozenset(
    {
        (ADA, "born_in", "Porto"),
        (ADA, "birth_year", "1901"),
        (ADA, "plays", "cello"),
        (BO, "born_in", "Oslo"),
        (BO, "plays", "harp"),
    }
)
TEXT = "Ada Novak was born in Porto. Bo Lind was born in Oslo."


def asking(*asked):
    return Faithful(TEXT, FACTS, asked)


@pytest.mark.parametrize(
    ("answer", "right"),
    [
        ("Ada Novak was born in Porto.", True),
        ("Porto is the birthplace of Ada Novak.", True),
        ("Ada Novak was born in Oslo.", False),  # another's
        ("Ada Novak was born in Lima.", False),  # nobody's
        ("Ada Novak was not born in Porto.", False),
        ("Bo Lind was born in Oslo.", False),  # true, and not the answer
        ("Ada Novak was born in Porto. Ada Novak plays the cello.", False),  # more than was asked
        ("Ada Novak was born in Porto. She was kind.", False),  # made up
        ("Ada Novak was born in Porto or Oslo.", False),
        ("Ada Novak was probably born in Porto.", False),
        ("Porto.", False),  # no sentence
        (SILENT, False),  # it does say
        (f"Ada Novak was born in Porto. {SILENT}", False),
        ("Ada Novak was born in Porto. Ada Novak was born in Porto.", False),
        ("", False),
        ("x" * 3000, False),
        (None, False),
    ],
)
def test_one_question(answer, right):
    assert asking((ADA, "born_in")).right(answer) == right


def test_where_the_text_is_silent_so_is_the_answer():
    one = asking((BO, "wrote"), (BO, "plays"))
    assert one.answer == f"{SILENT} Bo Lind plays the harp." and one.right(one.answer)
    for wrong in (
        "Bo Lind plays the harp.",
        f"{SILENT} {SILENT}",
        f"{SILENT} {SILENT} Bo Lind plays the harp.",
        SILENT,
    ):
        assert not one.right(wrong)
    assert not one.right("Bo Lind wrote the book Rain. Bo Lind plays the harp.")


def test_each_sentence_is_judged():
    found = asking((ADA, "plays")).judged("Ada Novak plays the cello. Bo Lind plays the cello. It rained.\n" + SILENT)
    assert [verdict for _, verdict, _ in found] == ["supported", "contradicted", "unread", "silent"]


def test_precision_and_recall_over_every_wording():
    """Of sentences in all wordings, true and false: what is called supported is true, and every true one is called so."""
    rng, counts = random.Random(0), {"true": [0, 0], "false": [0, 0]}
    for one in faithful(60, 0):
        known = sorted(one.facts)
        values = {relation: [v for _, r, v in known if r == relation] for _, relation, _ in known}
        for person, relation, value in known:
            others = [v for v in values[relation] if v != value]
            wording = rng.choice(SENTENCES[relation])
            for truth, said in (("true", value), *((("false", others[0]),) if others else ())):
                ((_, verdict, _),) = one.judged(wording.format(n=person, p=person, v=said))
                counts[truth][verdict == "supported"] += 1
    assert counts["false"] == [sum(counts["false"]), 0] and sum(counts["false"]) > 100
    assert counts["true"] == [0, sum(counts["true"])] and sum(counts["true"]) > 400


def test_demonstrations_pass_and_splits_are_apart():
    train, test = faithful(60, 0), faithful(60, 0, "test")
    assert all(one.demonstration()["verdict"]["passed"] for one in train)
    assert not {one.asks for one in train} & {one.asks for one in test}
    assert [len(one.asked) for one in train[:6]] == [1, 2, 3, 1, 2, 3]
    assert any(SILENT in one.answer for one in train) and any(SILENT not in one.answer for one in train)
