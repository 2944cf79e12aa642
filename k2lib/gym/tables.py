"""Tables: questions whose answer lies several steps away, some of them across two tables (section 3.2.1)."""

import random
from dataclasses import dataclass

from k2lib.corpus.split import side
from k2lib.gym import answers
from k2lib.gym.problem import Problem, Question

NAMES = "Ada Ben Cleo Dan Ela Finn Gus Hana Ivo Jana Kai Lena Milo Nora Otto Pia Rosa Sam Tess Uma".split()
CITIES = {
    "Lisbon": "Portugal",
    "Porto": "Portugal",
    "Lyon": "France",
    "Nantes": "France",
    "Turin": "Italy",
    "Bari": "Italy",
}
COLUMNS = {"books": (1, 30), "hours": (10, 60), "points": (100, 990)}
ROWS = (3, 6, 12)  # of the first table, by level


@dataclass(frozen=True)
class Table(Question):
    question: str  # below its tables
    value: str

    kind = "tables"
    budget = 24  # tokens

    @property
    def asks(self) -> str:
        return self.question

    @property
    def answer(self) -> str:
        return self.value

    def right(self, answer: str) -> bool:
        if self.answer.isdigit():
            return answers.number(answer) == int(self.answer)
        return answer.strip().removesuffix(".") == self.answer


def tables(n: int, seed: int, split: str = "train", level: int | None = None) -> list[Problem]:
    """`n` questions of a split; the levels in turn, or one: longer tables, and from the second level on two of them."""
    rng, found = random.Random(f"tables/{seed}"), []
    while len(found) < n:
        one = _drawn(rng, len(found) % len(ROWS) if level is None else level)
        if side("tables", one.asks) == split:
            found.append(one)
    return found


def _drawn(rng: random.Random, level: int) -> Table:
    names = rng.sample(NAMES, ROWS[level])
    values = {key: rng.sample(range(*span), len(names)) for key, span in COLUMNS.items()}  # no two alike: one leads
    people = [
        {"name": name, "city": rng.choice(list(CITIES))} | {key: values[key][row] for key in COLUMNS}
        for row, name in enumerate(names)
    ]
    column, ask = (
        rng.choice(list(COLUMNS)),
        rng.choice([_total, _count, _most] if level == 0 else [_across, _across_most, _where]),
    )
    question, answer = ask(rng, people, column)
    shown = _written(people) + (
        "" if level == 0 else "\n" + _written([{"city": c, "country": land} for c, land in CITIES.items()])
    )
    return Table(f"{shown}\n{question}", answer)


def _written(rows: list[dict]) -> str:
    lines = [" | ".join(map(str, row)) for row in (rows[0], *(row.values() for row in rows))]
    return "".join(f"{line}\n" for line in lines)


def _total(rng: random.Random, people: list[dict], column: str) -> tuple[str, str]:
    city = rng.choice(people)["city"]
    return f"How many {column} do the people of {city} have together? Answer with the number.", str(
        sum(one[column] for one in people if one["city"] == city)
    )


def _count(rng: random.Random, people: list[dict], column: str) -> tuple[str, str]:
    bound = rng.choice(people)[column]
    return f"How many people have more than {bound} {column}? Answer with the number.", str(
        sum(one[column] > bound for one in people)
    )


def _most(rng: random.Random, people: list[dict], column: str) -> tuple[str, str]:
    return f"Who has the most {column}? Answer with the name.", _leader(people, column)


def _across(rng: random.Random, people: list[dict], column: str) -> tuple[str, str]:
    land = CITIES[rng.choice(people)["city"]]
    return f"How many {column} do the people of {land} have together? Answer with the number.", str(
        sum(one[column] for one in people if CITIES[one["city"]] == land)
    )


def _across_most(rng: random.Random, people: list[dict], column: str) -> tuple[str, str]:
    land = CITIES[rng.choice(people)["city"]]
    within = [one for one in people if CITIES[one["city"]] == land]
    return f"Who of the people of {land} has the most {column}? Answer with the name.", _leader(within, column)


def _where(rng: random.Random, people: list[dict], column: str) -> tuple[str, str]:
    leader = next(one for one in people if one["name"] == _leader(people, column))
    return f"In which country is the person with the most {column}? Answer with the country.", CITIES[leader["city"]]


def _leader(people: list[dict], column: str) -> str:
    return max(people, key=lambda one: one[column])["name"]
