"""Fidelity by sentence embeddings: how near a rewrite lies to its source, and which sentence of the source lies nowhere near it.

MiniLM's embeddings (`k2 get minilm`), mean-pooled and normalised as it was trained. They see what a text is about and hardly
what it says of it: a fact reversed stays near. So they are a layer that finds what was left out, not what was made wrong.
"""

import re
from functools import lru_cache
from pathlib import Path

import torch
from torch import Tensor

from k2lib.llm import get

_SENTENCE = re.compile(r"(?<=[.!?])\s+|\n+")
AT_ONCE = 64  # texts
LONGEST = 256  # tokens of a text, as the model was trained


@torch.no_grad()
def embed(texts: list[str]) -> Tensor:
    """[texts, 384] unit vectors. RuntimeError if the model is not there."""
    tokenizer, model = _model()
    rows = []
    for at in range(0, len(texts), AT_ONCE):
        given = tokenizer(
            texts[at : at + AT_ONCE], padding=True, truncation=True, max_length=LONGEST, return_tensors="pt"
        )
        hidden, mask = model(**given).last_hidden_state, given["attention_mask"][..., None]
        rows.append(torch.nn.functional.normalize((hidden * mask).sum(1) / mask.sum(1), dim=-1))
    return torch.cat(rows)


def likeness(source: str, rewrite: str) -> float:
    """Cosine of the two whole texts."""
    one, other = embed([source, rewrite])
    return float(one @ other)


def least_covered(source: str, rewrite: str) -> float:
    """The smallest, over the source's sentences, of the largest cosine with a sentence of the rewrite."""
    before, after = ([s for s in _SENTENCE.split(text) if s.strip()] for text in (source, rewrite))
    if not before or not after:
        return 0.0
    vectors = embed([*before, *after])
    return float((vectors[: len(before)] @ vectors[len(before) :].T).max(1).values.min())


@lru_cache(1)
def _model() -> tuple:
    directory: Path = get.path("minilm")
    if not get.have("minilm"):
        raise RuntimeError(f"sentence embeddings are not in {directory}; run `k2 get minilm`")
    from transformers import AutoModel, AutoTokenizer

    return AutoTokenizer.from_pretrained(directory), AutoModel.from_pretrained(directory).eval()
