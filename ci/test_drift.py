"""The ledgers that the smoke run has just written under $K2_ARTIFACTS lie within data/results/expected_smoke.json.

A verdict survives a number that drifts inside its margin; this is the net for the number.
"""

import pytest

from k2lib.books import bands
from k2lib.report.ledger import Ledger, ledger_path

EXPECTED = bands.expected()


@pytest.mark.parametrize("notebook", EXPECTED)
def test_the_numbers_of_this_run_lie_within_their_bands(notebook):
    path = ledger_path(notebook, bands.PROFILE)
    assert path.exists(), f"no ledger at {path}: run `k2 reproduce --profile smoke` with the same K2_ARTIFACTS first"
    drifted = bands.outside(Ledger.load(path), EXPECTED)
    assert not drifted, f"{drifted}; if that is meant, run `make bands` and say why in the commit"
