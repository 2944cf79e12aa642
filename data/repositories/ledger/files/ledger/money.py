"""Amounts of money: cents inside, decimals outside."""


def parse(text: str) -> int:
    whole, _, part = text.partition(".")
    return 100 * int(whole) + int(part.ljust(2, "0")[:2] if part else 0)


def show(cents: int) -> str:
    return str(cents / 100)
