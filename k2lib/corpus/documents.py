"""One document of the corpus, with where it came from: what is not written down here cannot be in the manifest."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Document:
    text: str
    source: str  # a module, a file, an entity of the generated world
    kind: str  # "stdlib-doc" | "stdlib-source" | "world" | "rephrased" | "qa" | "math" | "user"
    licence: str
