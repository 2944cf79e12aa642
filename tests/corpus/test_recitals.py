"""Recitals: what repeats, and that nobody could know it beforehand."""

import itertools
import json
import re

from k2lib.corpus import recitals

KNOWN = ["owner", "colour", "milk", "harbour", "weight"]


def lists(count: int, seed: int = 0) -> list[str]:
    return [d.text for d in itertools.islice(recitals.documents(2 * count, seed, KNOWN), 1, None, 2)]


def look_ups(count: int) -> list[str]:
    return [d.text for d in itertools.islice(recitals.documents(2 * count, 0, KNOWN), 0, None, 2)]


def test_a_list_is_read_again_and_again():
    for text in lists(200):
        words = text.split()
        period = next(p for p in range(1, len(words)) if all(a == b for a, b in zip(words, words[p:], strict=False)))
        assert period <= 2 * recitals.PERIOD[1] and len(words) >= recitals.WORDS and len(words) >= 2 * period


def test_a_look_up_tells_the_same_pairs_three_times():
    found = 0
    for text in look_ups(400):
        objects = [json.loads(line) for line in text.splitlines() if line.startswith("{")]
        whole = [one for one in objects if len(one) > 1]
        for pairs in whole:
            for name, value in pairs.items():
                spelt = re.sub(r"[_-]", "", name).lower()
                plain = re.sub(r"[ _-]", "", text).lower()
                assert plain.count(spelt) >= recitals.TELLINGS, (name, text)
                assert text.count(str(value)) >= recitals.TELLINGS, (value, text)
                found += 1
    assert found > 200


def test_every_way_of_telling_is_taken_and_the_order_changes():
    texts = look_ups(300)
    shapes = (
        r"^The .* is .*\.",
        r"^[^{(:]*, [^{(:]*\.$",
        r"^\{.*, .*\}$",
        r"^\{[^,]*\}$",
        r"^set.*\(.*\)$",
        r"^[^{(\"]*: .*$",
    )
    for shape in shapes:
        assert sum(bool(re.search(shape, text, re.MULTILINE)) for text in texts) > 50, shape
    orders = [[re.findall(r"The (\w+) is ", text), re.findall(r"^(\w+): ", text, re.MULTILINE)] for text in texts]
    told = [(one, other) for one, other in orders if len(one) > 2 and sorted(one) == sorted(other)]
    assert len(told) > 5 and any(one != other for one, other in told)


def test_recitals_depend_on_seed_and_number_alone_and_share_no_list():
    one, again, other = (list(recitals.documents(300, seed, KNOWN)) for seed in (0, 0, 1))
    assert one == again != other and list(recitals.documents(100, 0, KNOWN)) == one[:100]
    assert len({d.text for d in one + other}) == 600
    assert all(d.kind == "recital" and d.licence for d in one)


def test_the_vocabulary_is_what_the_corpus_says_most_often():
    known = recitals.vocabulary(["The owner of it, the Owner and", "a verylongwordindeed the owner the 12"])
    assert known == ["the", "owner", "and"]  # three letters to twelve
    assert recitals.vocabulary(["b12 aa bbb"]) == ["bbb"]
