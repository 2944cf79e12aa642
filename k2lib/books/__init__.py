"""The committed notebooks: `build` runs them and stores them canonically, `check` says what is wrong with them."""

from k2lib.books.rebuild import build, check

__all__ = ["build", "check"]
