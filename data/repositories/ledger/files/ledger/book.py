"""Accounts and what they hold, in cents."""


class Refused(Exception):
    """A command that the book does not carry out."""


class Book:
    def __init__(self):
        self.accounts: dict[str, int] = {}

    def open(self, name: str, cents: int) -> None:
        if name in self.accounts:
            raise Refused(f"{name} is open already")
        self.accounts[name] = cents

    def move(self, payer: str, receiver: str, cents: int) -> None:
        for name in (payer, receiver):
            if name not in self.accounts:
                raise Refused(f"no account {name}")
        self.accounts[receiver] += cents
        if self.accounts[payer] < cents:
            raise Refused(f"{payer} has too little")
        self.accounts[payer] -= cents
