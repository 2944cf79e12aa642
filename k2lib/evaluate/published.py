"""The paper's own tables, as data: `data/published/<name>.yaml`, the one place where published numbers stand."""

from dataclasses import dataclass

import yaml

from k2lib.places import DATA

FOLDER = DATA / "published"


@dataclass(frozen=True)
class Table:
    table: str
    section: str
    models: list[str]
    rows: list[dict]  # {"benchmark": str, "values": one a model, None where not reported, …}

    def row(self, benchmark: str) -> dict[str, float | None]:
        """model -> value of one benchmark; ValueError names those there are."""
        for row in self.rows:
            if row["benchmark"] == benchmark:
                return dict(zip(self.models, row["values"], strict=True))
        raise ValueError(f"{self.table} has no {benchmark!r}; it has {', '.join(r['benchmark'] for r in self.rows)}")


def leads(rows: list[dict]) -> dict[str, float]:
    """benchmark -> points by which the first model stands above (or below) the best of the others, as far as reported."""
    found = {}
    for row in rows:
        first, *others = row["values"]
        found[row["benchmark"]] = first - max(value for value in others if value is not None)
    return found


def load(name: str) -> Table:
    """Table "table1", "table2", "table3", "table4" or "table6" of the paper."""
    path = FOLDER / f"{name}.yaml"
    if not path.exists():
        known = sorted(p.stem for p in FOLDER.glob("*.yaml"))
        raise ValueError(f"no published table {name!r}; there are {', '.join(known)}")
    return Table(**yaml.safe_load(path.read_text(encoding="utf-8")))
