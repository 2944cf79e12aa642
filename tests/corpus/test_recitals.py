"""Recitals: what repeats, and that nobody could know it beforehand."""

import itertools

from k2lib.corpus import recitals


def test_a_recital_says_its_list_again_and_again():
    for document in recitals.documents(200, seed=0):
        words = document.text.split()
        period = next(p for p in range(1, len(words)) if all(a == b for a, b in zip(words, words[p:], strict=False)))
        assert recitals.PERIOD[0] - 1 <= period <= recitals.PERIOD[1] and len(words) >= recitals.WORDS
        assert len(words) >= 2 * period and document.kind == "recital" and document.licence


def test_recitals_depend_on_seed_and_number_alone_and_share_no_list():
    one, again, other = (list(recitals.documents(300, seed)) for seed in (0, 0, 1))
    assert one == again != other and list(recitals.documents(100, 0)) == one[:100]
    lists = [tuple(d.text.split()[: recitals.PERIOD[1]]) for d in itertools.chain(one, other)]
    assert len(set(lists)) == 600
    words = [word for run in lists for word in set(run)]
    assert len(set(words)) > 0.9 * len(words)
