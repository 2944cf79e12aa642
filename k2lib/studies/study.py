"""What a study is: what one seed gives, as plain numbers, and what all seeds say about the claims."""

from collections.abc import Callable
from dataclasses import dataclass

from k2lib.config import K2Config
from k2lib.corpus.packing import PackedDataset
from k2lib.profiles import Profile
from k2lib.progress import Progress


@dataclass(frozen=True)
class Study:
    notebook: str  # whose claims it measures
    size: str  # the field of a profile that holds its size, with `seeds` among it
    measure: Callable[[K2Config, PackedDataset | None, Profile, int, Progress], dict]  # of one seed: plain JSON
    values: Callable[[Profile, list[dict]], dict[str, list[float]]]  # claim id -> one number a seed
    reads_corpus: bool = True  # else it makes its texts itself, and gets None for a dataset
