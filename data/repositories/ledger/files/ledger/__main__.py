"""Reads commands from standard input, a line each: `open NAME AMOUNT`, `move FROM TO AMOUNT`, `show`."""

import sys

from ledger.book import Book, Refused
from ledger.money import parse, show


def main() -> None:
    book = Book()
    for line in sys.stdin:
        words = line.split()
        if not words:
            continue
        try:
            if words[0] == "open":
                book.open(words[1], parse(words[2]))
            elif words[0] == "move":
                book.move(words[1], words[2], parse(words[3]))
            elif words[0] == "show":
                for name, cents in sorted(book.accounts.items()):
                    print(name, show(cents))
        except Refused as why:
            print("refused:", why)


main()
