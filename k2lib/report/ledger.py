"""The file a notebook leaves: what it measured, what it recorded for its claims, and who measured it.

`artifacts/<profile>/ledgers/<notebook>.json`. It holds measurements and no verdicts: those follow from the rules of
claims.yaml whenever somebody reads, so a rule and a stored verdict can never disagree.
"""

import json
import math
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path

import numpy as np

from k2lib.intervals import Interval, interval
from k2lib.places import artifacts
from k2lib.store import write_atomic


@dataclass(frozen=True)
class Record:
    """What was measured for one claim: the raw values, what they are (see k2lib.intervals), a remark."""

    id: str
    values: float | list
    of: str = "number"
    detail: str = ""

    def __post_init__(self) -> None:
        try:
            self.interval()
            object.__setattr__(self, "values", plain(np.asarray(self.values, dtype=float), 6))
        except ValueError as error:
            raise ValueError(f"claim {self.id!r}: {error}") from error

    def interval(self, level: float = 0.95) -> Interval:
        """The mean of the values and its interval."""
        return interval(self.values, self.of, level)


@dataclass
class Ledger:
    notebook: str
    profile: str
    seed: int = 0
    records: dict[str, Record] = field(default_factory=dict)
    metrics: dict[str, float] = field(default_factory=dict)  # watched for drift, not claims
    measured: dict[str, dict] = field(
        default_factory=dict
    )  # name -> {"value": plain JSON, "code": hash of what gave it}
    figures: list[str] = field(default_factory=list)  # names, in the order shown
    seconds: float = 0.0
    provenance: dict = field(default_factory=dict)

    def save(self, path: Path) -> None:
        """Writes the ledger as JSON, atomically."""
        content = asdict(self) | {"records": [asdict(record) for record in self.records.values()]}
        write_atomic(path, pretty(content))

    @classmethod
    def load(cls, path: Path) -> "Ledger":
        """Reads a ledger, also one of an older version, whose other fields are left; ValueError when it is none."""
        try:
            content = json.loads(Path(path).read_text(encoding="utf-8"))
            records = {entry["id"]: Record(**entry) for entry in content.pop("records")}
            known = {one.name for one in fields(cls)}
            return cls(records=records, **{name: value for name, value in content.items() if name in known})
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise ValueError(f"{path} is not a ledger ({error}); run its notebook again to write it anew") from error


def ledger_path(notebook: str, profile: str) -> Path:
    """Where the notebook's ledger lies in this working copy's artifacts."""
    return artifacts(profile) / "ledgers" / f"{notebook}.json"


def pretty(content: dict) -> str:
    """JSON that a diff can show: a field a line, a list of numbers on one line."""
    text = json.dumps(content, indent=1, ensure_ascii=False)
    flat = re.sub(r"\[\n\s+([^\[\]{}]*?)\n\s*\]", lambda found: "[" + re.sub(r",\n\s+", ", ", found[1]) + "]", text)
    return flat + "\n"


def significant(number: float, digits: int) -> float:
    """`number` rounded to so many significant digits."""
    return float(f"{number:.{digits}g}")


def plain(value: object, digits: int = 5) -> object:
    """`value` as JSON: arrays and tensors become lists, numbers are rounded, NaN and infinities become null."""
    if hasattr(value, "tolist"):  # numpy arrays and scalars, torch tensors
        value = value.tolist()
    if isinstance(value, bool) or value is None or isinstance(value, str | int):
        return value
    if isinstance(value, float):
        return significant(value, digits) if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {str(key): plain(item, digits) for key, item in value.items()}
    if isinstance(value, list | tuple | range):
        return [plain(item, digits) for item in value]
    raise ValueError(f"what is measured holds numbers, strings, lists and dicts, not {type(value).__name__}: {value!r}")
