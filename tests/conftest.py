"""One thread for every test, so that results repeat and two workers do not fight for two cores; tiny notebooks, and a
place of their own for artifacts."""

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

from collections.abc import Callable
from pathlib import Path

import nbformat
import pytest
import torch

torch.set_num_threads(1)


@pytest.fixture(scope="session")
def tiny_tokenizer():
    """A byte-level tokenizer with a few merges and K2's control tokens."""
    from k2lib.corpus.tokenizer import Tokenizer

    return Tokenizer.train(["the quick brown fox jumps over the lazy dog " * 20], vocab_size=320)


CARD = "# 00 · Tiny\n\n**Question.** Runs? **Claims.** None. **Time.** smoke, laptop: seconds. **Left out.** All."
PARAMETERS = 'profile = "published"\nseed = 0'


def notebook(folder: Path, name: str, *sources: str, finish: bool = False) -> Path:
    """Writes NN_name.ipynb with a card, the parameters cell and a code cell under its own heading for each source."""
    new = nbformat.v4
    cells = [new.new_markdown_cell(CARD), new.new_code_cell(PARAMETERS, metadata={"tags": ["parameters"]})]
    if finish:
        sources = (f'from k2lib.report import start\n\nb = start("{name}", profile, seed)', *sources)
    for number, source in enumerate(sources):
        cells += [new.new_markdown_cell(f"## Part {number}"), new.new_code_cell(source)]
    if finish:
        last = new.new_code_cell("b.finish()")
        cells += [new.new_markdown_cell("Done."), last]
    path = Path(folder) / f"{name}.ipynb"
    path.parent.mkdir(parents=True, exist_ok=True)
    nbformat.write(new.new_notebook(cells=cells), path)
    return path


@pytest.fixture(scope="session")
def write() -> Callable[..., Path]:
    """write(folder, name, *sources, finish=False) writes a notebook into that folder and returns its path."""
    return notebook


@pytest.fixture
def make(tmp_path: Path) -> Callable[..., Path]:
    """make(name, *sources, finish=False) writes a notebook into this test's folder and returns its path."""
    return lambda name, *sources, **options: notebook(tmp_path / "notebooks", name, *sources, **options)


@pytest.fixture
def artifacts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """$K2_ARTIFACTS/smoke of this test; no test touches the working copy's."""
    for name in [name for name in os.environ if name.startswith("K2_")]:
        monkeypatch.delenv(name)
    monkeypatch.setattr("k2lib.report.claims._current", None)
    monkeypatch.setenv("K2_ARTIFACTS", str(tmp_path / "artifacts"))
    return tmp_path / "artifacts" / "smoke"


@pytest.fixture(scope="session")
def shards(tiny_tokenizer, tmp_path_factory):
    """A small packed corpus in the tiny tokenizer's vocabulary of 320."""
    from k2lib.corpus import packing
    from k2lib.corpus.documents import Document

    folder = tmp_path_factory.mktemp("shards")
    documents = [
        Document(f"the fox {i} jumps over dog {i % 7}. " * 9, f"d{i}", "world", "generated") for i in range(300)
    ]
    packing.write_shards(documents, tiny_tokenizer, folder, 1 << 20, {})
    return folder
