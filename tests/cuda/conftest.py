"""The kernels need g++ and CUDA's headers to run on a CPU; a machine without them skips these tests, and says so."""

import pytest

from k2lib.cuda import simulator


@pytest.fixture(autouse=True, scope="session")
def compiler():
    if reason := simulator.missing():
        pytest.skip(reason)
