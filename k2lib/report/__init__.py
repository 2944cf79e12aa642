"""What a notebook says at the end of its story: claims with verdicts, and figures.

    from k2lib.report import figures, start
    b = start("03_muonclip", profile, seed)

`book` is the notebook's side (start, progress, show, record, finish); `claims` holds the rules that give the verdicts;
`figures` the one style of drawing; `ledger` the file that a notebook leaves; `results` the committed runs of other
machines; `provenance` who ran what where.
"""

from k2lib.report.book import Book, start

__all__ = ["Book", "start"]
