"""The kernels need g++ and CUDA's headers to run on a CPU; a machine without them skips these tests, and says so."""

import shutil

import pytest

from k2lib.cuda import source


@pytest.fixture(autouse=True, scope="session")
def compiler():
    if shutil.which("g++") is None:
        pytest.skip("the simulator compiles with g++, which is not here")
    try:
        source.headers()
    except RuntimeError as error:
        pytest.skip(str(error))
