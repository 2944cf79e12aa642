"""The `k2` command: `main` reads the line, one file a group of commands does the work."""

from k2lib.cli.main import main, parser

__all__ = ["main", "parser"]
