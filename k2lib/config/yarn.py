"""YaRN's numbers: context extension by slowing the slow rotary pairs (section 2.5: 4k and 32k in training, 128k by YaRN)."""

import dataclasses
from dataclasses import dataclass

from k2lib.config.checks import LIMITS, is_number, require

NAMELESS = {"type", "rope_type", "rope_theta", "attention_factor", "truncate"}  # what a rope entry may say beside it


@dataclass(frozen=True)
class YaRN:
    factor: float
    original_max_position_embeddings: int
    beta_fast: float = 32.0  # turns over the original context from which a pair is left alone …
    beta_slow: float = 1.0  # … and below which it is slowed by the whole factor
    mscale: float = 1.0
    mscale_all_dim: float = 0.0

    def __post_init__(self) -> None:
        length, say = self.original_max_position_embeddings, "give the length that the model was trained on"
        good = type(length) is int and 0 < length <= LIMITS["max_position_embeddings"]
        require(good, f"YaRN's original_max_position_embeddings is {length!r}; {say}")
        say = "a context can only be extended, so give a finite number of 1 or more"
        require(is_number(self.factor) and self.factor >= 1, f"YaRN's factor is {self.factor!r}; {say}")
        for name in ("beta_fast", "beta_slow"):
            value = getattr(self, name)
            require(is_number(value) and value > 0, f"YaRN's {name} is {value!r}; give a finite number above 0")
        for name in ("mscale", "mscale_all_dim"):
            value = getattr(self, name)
            require(is_number(value) and 0 <= value <= 100, f"YaRN's {name} is {value!r}; give a number from 0 to 100")
        fast, slow = self.beta_fast, self.beta_slow
        require(fast >= slow, f"YaRN's beta_fast is {fast}, below beta_slow, {slow}; exchange them")

    @classmethod
    def read(cls, rope: dict) -> "YaRN | None":
        """From `rope_scaling` of a config.json; None where the positions are not stretched. ValueError for what K2 is not."""
        require(isinstance(rope, dict), f"rope_scaling is {rope!r}; give an object with its type and factor, or null")
        kind = rope.get("rope_type") or rope.get("type") or "default"
        if kind == "default":
            return None
        require(kind == "yarn", f"rope scaling of type {kind!r} is not supported; K2 uses 'yarn'")
        names = {field.name for field in dataclasses.fields(cls)}
        unknown = sorted(set(rope) - names - NAMELESS)
        require(not unknown, f"unknown YaRN field {', '.join(unknown)} in rope_scaling")
        plain = rope.get("attention_factor") is None and rope.get("truncate", True)
        say = "with an attention_factor of its own, or with truncate false, is not supported; remove the field"
        require(plain, f"YaRN {say}")
        given = {name: value for name, value in rope.items() if name in names and value is not None}
        missing = sorted({"factor", "original_max_position_embeddings"} - set(given))
        require(not missing, f"rope_scaling lacks {', '.join(missing)}")
        return cls(**given)
