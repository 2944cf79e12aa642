"""Does reading ten tellings once teach more than reading one text ten times, and what of it is it that teaches? (Table 1)

Every arm reads as many tokens about the same new people, beside as many of the old corpus, from the same base model. All
rewrites are the scripted writer's, so every one says what its source says, unless it was made wrong on purpose.
"""

import random
import re
import statistics
from dataclasses import asdict, dataclass

from k2lib.config import K2Config
from k2lib.corpus.packing import PackedDataset
from k2lib.corpus.world import STYLES, TELLING, World
from k2lib.corpus.world.restyle import rewrite
from k2lib.model import K2Model
from k2lib.profiles import IngestionSize, Profile
from k2lib.progress import Progress
from k2lib.studies.examination import answered, chosen
from k2lib.studies.ingestion import School, backwards, ingest, school, tokens_of
from k2lib.studies.study import Study
from k2lib.synth.corruptions import corrupt
from k2lib.synth.fidelity import verify

RAW, ONE, TEN = "raw × 10", "1 × 10", "10 × 1"  # the rows of Table 1: how many tellings, how often each is read
WRONG = ("wrong name or number", "wrong common word", "dropped fact", "added fact", "negation", "swapped roles")
SHARES = (0.05, 0.2)  # of rewrites made wrong
EXPOSURES = (2, 5, 20)
CHOICES = 10  # answers to choose from; one is right

Passes = list[list[str]]  # [pass][text]: a text of every new person, as often as it is told


@dataclass(frozen=True)
class Taught:
    """What an arm's model answers."""

    right: list[int]  # of each new person's six questions
    kept: float  # share of right answers about people of the base corpus, who were read about in the replay only
    forwards: float  # share of right choices: which book did this person write?
    backwards: float  # the same facts from the other end: who wrote this book?


def measure(
    config: K2Config, _dataset: PackedDataset | None, profile: Profile, run: int, progress: Progress
) -> dict[str, dict]:
    """{"large": …, "small": …} of {"base": one, "arms": {name: `Taught`}}, {"check": {share: [wrong, caught, false alarms]}}."""
    size, seed = profile.ingestion, run + 1
    found: dict[str, dict] = {}
    for name in ("large", "small"):
        of = school(config.replace(**getattr(size, name)), size, seed, progress)
        tellings = Tellings(of.world, of.new, seed)
        arms = tellings.arms() if name == "large" else {arm: tellings.arms()[arm] for arm in (RAW, ONE, TEN)}
        once = len(tokens_of(tellings.raw, of.tokenizer))
        taught = {}
        for arm, (passes, exposures) in arms.items():
            model = ingest(of, passes, exposures * once, size, seed, progress, f"{arm}, {name}, seed {seed}")
            taught[arm] = asdict(examined(model, of, size))
        found[name] = {"base": asdict(examined(of.model, of, size)), "arms": taught}
    return found | {"check": tellings.checked}


class Tellings:
    """The new people's texts, in all the forms that an arm may give them."""

    def __init__(self, world: World, people: list[str], seed: int):
        self._world, self._people, self._seed = world, people, seed
        rng = random.Random(f"raw/{seed}")
        self.raw = [world.document(person, rng.choice(STYLES), rng) for person in people]
        self.checked: dict[str, list[int]] = {}

    def arms(self) -> dict[str, tuple[Passes, int]]:
        """name -> (passes, how often everyone is read about)."""
        told = self._told(20)
        arms = {RAW: ([self.raw], 10)} | {f"{k} × {10 // k}": (told[:k], 10) for k in (1, 2, 5, 10)}
        arms["sentences shuffled"] = ([self._shuffled(k) for k in range(10)], 10)
        arms["10 in one order"] = (self._told(10, reorder=False), 10)
        arms["10 in one style"] = (self._told(10, styles=("encyclopaedia",)), 10)
        arms |= {f"raw × {k}": ([self.raw], k) for k in EXPOSURES} | {f"{k} × 1": (told[:k], k) for k in EXPOSURES}
        for share in SHARES:
            wrong = self._spoilt(told[:2], share)
            arms[f"2 × 5, {share:.0%} wrong"] = (wrong, 10)
            arms[f"2 × 5, {share:.0%} wrong, checked"] = (self._filtered(wrong, told[:2], share), 10)
        return arms

    def _told(self, count: int, styles: tuple[str, ...] = TELLING, reorder: bool = True) -> Passes:
        rng = random.Random(f"told/{self._seed}/{styles}/{reorder}")
        orders = [rng.sample(styles, len(styles)) for _ in self.raw]
        return [
            [rewrite(text, orders[i][k % len(styles)], rng, reorder=reorder) for i, text in enumerate(self.raw)]
            for k in range(count)
        ]

    def _shuffled(self, number: int) -> list[str]:
        """The raw texts with their sentences in another order; the opening, which names the person, stays."""
        rng = random.Random(f"shuffled/{self._seed}/{number}")
        out = []
        for text in self.raw:
            opening, *rest = re.split(r"(?<=[.?!:]) (?=\S)", text)
            out.append(" ".join([opening, *rng.sample(rest, len(rest))]))
        return out

    def _spoilt(self, passes: Passes, share: float) -> Passes:
        rng = random.Random(f"spoilt/{self._seed}/{share}")
        facts = [{f.relation: f.value for f in self._world.facts(person)} for person in self._people]

        def maybe(text: str, i: int) -> str:
            if rng.random() >= share:
                return text
            return corrupt(rng.choice(WRONG), text, facts[i], facts[rng.randrange(len(facts))], rng)

        return [[maybe(text, i) for i, text in enumerate(texts)] for texts in passes]

    def _filtered(self, passes: Passes, faithful: Passes, share: float) -> Passes:
        """What the fidelity check accepts; the counts of what it did are kept in `checked`."""
        wrong = caught = alarms = 0
        out = []
        for texts, good in zip(passes, faithful, strict=True):
            verdicts = [verify(raw, text).faithful for raw, text in zip(self.raw, texts, strict=True)]
            spoilt = [text != meant for text, meant in zip(texts, good, strict=True)]
            wrong += sum(spoilt)
            caught += sum(bad and not ok for bad, ok in zip(spoilt, verdicts, strict=True))
            alarms += sum(not bad and not ok for bad, ok in zip(spoilt, verdicts, strict=True))
            out.append([text for text, ok in zip(texts, verdicts, strict=True) if ok])
        self.checked[f"{share:.0%}"] = [wrong, caught, alarms]
        return out


def examined(model: K2Model, of: School, size: IngestionSize) -> Taught:
    """A model's answers about the new people, and about those whom only the base corpus told of."""
    asked = [of.world.questions(person) for person in of.new]
    right = answered(model, of.tokenizer, [(qa.question, qa.answer) for one in asked for qa in one])
    each = len(asked[0])
    known = [qa for person in of.world.people[1 : size.people : 2] for qa in of.world.questions(person)]
    kept = answered(model, of.tokenizer, [(qa.question, qa.answer) for qa in known])
    forwards, back = _choices(of)
    return Taught(
        [sum(right[i * each : (i + 1) * each]) for i in range(len(asked))],
        statistics.mean(kept),
        *(statistics.mean(place == 0 for place in chosen(model, of.tokenizer, one)) for one in (forwards, back)),
    )


def _choices(of: School) -> tuple[list[tuple[str, list[str]]], list[tuple[str, list[str]]]]:
    """Questions with the right answer first: who wrote which book, from either end; the other people wrote other books."""
    rng, forwards, back = random.Random("choices"), [], []
    books = {}
    for person in of.new:
        books[person] = next(qa for qa in of.world.questions(person) if qa.fact.relation == "wrote")
    for person, qa in books.items():
        others = [one for one in of.new if books[one].answer != qa.answer]
        few = rng.sample(others, CHOICES - 1)
        forwards.append((qa.question, [qa.answer, *(books[one].answer for one in few)]))
        back.append((backwards(person, [qa])[0], [person, *few]))
    return forwards, back


def accuracy(taught: dict) -> float:
    """Share of the questions about new people that are answered rightly."""
    return statistics.mean(taught["right"]) / 6


def values(_profile: Profile, results: list[dict]) -> dict[str, list[float]]:
    """One number a seed for each claim; points are hundredths of the questions."""

    def gain(result: dict, arm: str, over: str) -> float:
        arms = result["large"]["arms"]
        return 100 * (accuracy(arms[arm]) - accuracy(arms[over]))

    return {
        "rephrasings-beat-epochs": [gain(r, TEN, RAW) for r in results],
        "ten-rephrasings-beat-one": [gain(r, TEN, ONE) for r in results],
        "one-rephrasing-is-most-of-it": [gain(r, ONE, RAW) - gain(r, TEN, RAW) / 2 for r in results],
        "two-rephrasings-are-most-of-it": [gain(r, "2 × 5", RAW) - gain(r, TEN, RAW) / 2 for r in results],
        "styles-matter": [gain(r, TEN, "10 in one style") for r in results],
        "check-protects-knowledge": [gain(r, "2 × 5, 20% wrong, checked", "2 × 5, 20% wrong") for r in results],
    }


STUDY = Study("01_data_rephrasing", "ingestion", measure, values, reads_corpus=False)
