"""The paper's own tables, as data: `data/published/<name>.yaml`, the one place where published numbers stand."""

from dataclasses import dataclass, field

import yaml

from k2lib.places import DATA

FOLDER = DATA / "published"


@dataclass(frozen=True)
class Table:
    table: str
    section: str
    models: list[str]  # the paper's own first
    rows: list[dict]  # {"benchmark": str, "values": one a model, None where not reported, …}
    open: list[str] = field(default_factory=list)  # of the others, whose weights are open

    def row(self, benchmark: str) -> dict[str, float | None]:
        """model -> value of one benchmark; ValueError names those there are."""
        for row in self.rows:
            if row["benchmark"] == benchmark:
                return dict(zip(self.models, row["values"], strict=True))
        raise ValueError(f"{self.table} has no {benchmark!r}; it has {', '.join(r['benchmark'] for r in self.rows)}")


def leads(table: Table, others: list[str]) -> dict[str, float | None]:
    """benchmark -> points by which the first model stands above the best of the others (below: negative); None where
    none of them is reported."""
    found = {}
    for row in table.rows:
        values = dict(zip(table.models, row["values"], strict=True))
        reported = [values[name] for name in others if values[name] is not None]
        found[row["benchmark"]] = row["values"][0] - max(reported) if reported else None
    return found


def load(name: str) -> Table:
    """Table "table1", "table2", "table3", "table4" or "table6" of the paper."""
    path = FOLDER / f"{name}.yaml"
    if not path.exists():
        known = sorted(p.stem for p in FOLDER.glob("*.yaml"))
        raise ValueError(f"no published table {name!r}; there are {', '.join(known)}")
    return Table(**yaml.safe_load(path.read_text(encoding="utf-8")))
