"""The ledgers that the notebooks have just written under $K2_ARTIFACTS agree with data/results/expected_smoke.json.

nbval compares verdicts, and a verdict survives a number that drifts inside its margin; this is the net for the number.
"""

import json

import pytest

from k2lib.books import rebuild as books
from k2lib.report.ledger import Ledger, ledger_path

EXPECTED = json.loads(books.EXPECTED.read_text())


@pytest.mark.parametrize("notebook", EXPECTED)
def test_the_numbers_of_this_run_are_the_expected_ones(notebook):
    path = ledger_path(notebook, books.PROFILE)
    assert path.exists(), f"no ledger at {path}: run nbval on notebooks/ with the same K2_ARTIFACTS first"
    measured, expected = books.measured(Ledger.load(path)), EXPECTED[notebook]["values"]
    assert measured.keys() == expected.keys()
    drifted = {
        name: f"{value} instead of {expected[name]['value']}"
        for name, value in measured.items()
        if not books.within(value, expected[name])
    }
    assert not drifted, f"{drifted}; if that is meant, run `make notebooks` and say why in the commit"
