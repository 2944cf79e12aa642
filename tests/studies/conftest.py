"""What the studies train on in tests."""

import pytest

from k2lib.corpus import packing
from k2lib.corpus.documents import Document


@pytest.fixture(scope="module")
def shards(tiny_tokenizer, tmp_path_factory):
    folder = tmp_path_factory.mktemp("shards")
    documents = [
        Document(f"the fox {i} jumps over dog {i % 7}. " * 9, f"d{i}", "world", "generated") for i in range(99)
    ]
    packing.write_shards(documents, tiny_tokenizer, folder, 1 << 20, {})
    return folder
