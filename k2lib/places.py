"""Where the project's files lie: beside the package in a checkout, inside it in an installed wheel."""

import os
from pathlib import Path

PACKAGE = Path(__file__).resolve().parent
ROOT = PACKAGE.parent  # of a checkout
CHECKOUT = (ROOT / "pyproject.toml").is_file()


def _folder(name: str) -> Path:
    return (ROOT if CHECKOUT else PACKAGE) / name


DATA, NOTEBOOKS, KERNELS = map(_folder, ("data", "notebooks", "kernels"))
CUSIM = ROOT / "ci" / "cusim" if CHECKOUT else PACKAGE / "cusim"  # runs the kernels on a CPU


def artifacts(profile: str = "") -> Path:
    """Where a profile's pages lie, or without one all results: in $K2_ARTIFACTS, else in artifacts/ of the checkout or here."""
    base = os.environ.get("K2_ARTIFACTS")
    return (Path(base) if base else (ROOT if CHECKOUT else Path.cwd()) / "artifacts") / profile
