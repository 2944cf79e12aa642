"""Evolved applications: what a blueprint may turn into, with another record, other fields and other operations (section 3.1).

K2 evolved over 20,000 synthetic tools. A few dozen are learned by heart: a small model that had met 250 called none of those it had
not. With thousands it has to read what is declared. Each child keeps its parent's category and, now and then, one of its fields.
"""

import functools
import random

from k2lib.agents.domains.blueprint import NEEDS, RESERVED, Blueprint, Field, Operation, bundled
from k2lib.agents.domains.words import POOLS

NOUNS = (
    "anchor antenna apron arrow atlas badge banner barrel basket beacon bell bench berry bicycle blanket blossom bottle boulder bracelet "
    "branch brick bridge broom brush bucket buckle burrow cabin cable cactus candle canoe canvas canyon carpet cart castle cellar "
    "chain chair chapel chest chimney circus clock cloud coach coin comet compass copper coral cottage couch crane crater crayon crown "
    "crystal cup curtain cushion dagger dam desk diamond dish dock doll donkey drawer dress drum eagle easel elevator engine envelope "
    "fabric falcon farm feather fence ferry filter flag flask flute folder forest forge fossil fountain frame freezer funnel furnace "
    "gallery garage garden garment gasket glove goblet grain grape gravel guitar hammer hammock harp harvest hatch helmet hinge hive "
    "horn hose island jacket jar jewel jungle kayak kennel kettle kiosk kite ladder lagoon lake lamp lantern lathe leaf ledge lens "
    "lever library lift lighthouse locker loom magnet mantle marble market mask mast meadow medal melody mill mine mirror mitten "
    "monument mosaic motor mural museum needle nest net oar oasis oven owl paddle palace panel parrot passage pasture pebble pendant "
    "pepper piano pillar pillow pipe planet plank platform plough pocket pond poster pottery prism pulley pump puppet puzzle pyramid "
    "quarry quilt radar raft railway ramp ranch razor recipe reef relay ribbon ridge rifle ring river roof rope rudder saddle sail "
    "satellite saucer scarf sceptre scooter screen shed shelter shield shovel shrine signal siren sketch sledge sock spoon spring "
    "stadium stage statue stove stream studio submarine swing sword tablet tank target telescope temple tent thread throne tile tool "
    "torch tower toy tractor trail tram trolley trophy trumpet tunnel turbine turret umbrella uniform valley valve vault vehicle veil "
    "vessel village villa vine violin volcano wagon wallet watch weapon well wheel whistle willow window wing wire workshop wreath yacht"
).split()  # fmt: skip
NUMBERS = (
    "age area bonus charge count debt delay depth discount distance dosage fee fine floor force frequency fuel gain grade growth "
    "heat interest length load margin mileage mass noise number output pages payment points power pressure profit quota radius "
    "range rank ratio refund reserve revenue risk salinity savings share size slope speed staff stock strength surplus tariff tax "
    "thickness toll torque traffic tuition turnover value volume wage width wind yield"
).split()
POOL_OF = {
    "people": "owner keeper maker buyer pilot sponsor",
    "cities": "origin station venue",
    "companies": "firm brand vendor",
    "items": "cargo content",
    "codes": "code serial label",
    "rooms": "place chamber",
    "days": "weekday",
    "files": "file",
    "crops": "crop",
    "countries": "nation",
    "languages": "dialect",
    "subjects": "theme",
    "titles": "series",
    "events": "event",
    "ships": "carrier",
}
WORDS = {name: pool for pool, names in POOL_OF.items() for name in names.split()}
CHOICES = {
    "colour": "red green blue white",
    "state": "open closed broken",
    "level": "low middle high",
    "shape": "round square flat",
    "season": "spring summer autumn winter",
    "quality": "poor fair fine",
    "stage": "draft trial final",
    "access": "public private",
    "material": "wood steel glass",
    "side": "left right",
    "rhythm": "slow steady fast",
    "permit": "granted denied",
    "health": "sick well",
    "order": "first second third",
    "taste": "sweet sour bitter",
    "style": "modern classic rustic",
    "signal": "weak strong",
    "weather": "dry wet windy",
    "mood": "calm busy",
    "tone": "warm cold",
}
RECORD_NAMES = ("codes", "people", "ships", "projects", "titles", "companies", "cities", "houses", "files")
OPERATIONS = 7  # of an application
INVENTED = 3000  # nouns, for all categories
INHERITED = 0.3  # of the children keep a field of their parent


@functools.cache
def children(category: str, number: int) -> tuple[Blueprint, ...]:
    """`number` applications evolved from those of a category, always the same; their nouns are nobody else's.

    The first have English nouns; when those are used up, invented ones.
    """
    own = sorted({plan.category for plan in bundled()})
    nouns = _nouns()[own.index(category) :: len(own)]
    parents = [plan for plan in bundled() if plan.category == category]
    rng = random.Random(f"evolve/{category}")
    return tuple(_child(rng.choice(parents), noun, rng) for noun in nouns[:number])


@functools.cache
def _nouns() -> list[str]:
    """Those that no bundled application has for a record or a field, in an order that is not the alphabet's."""
    rng, taken = (
        random.Random("nouns"),
        {word for plan in bundled() for word in (plan.record, *plan.fields)} | set(RESERVED),
    )
    free = [noun for noun in NOUNS if noun not in taken]
    invented = {_invented(rng): None for _ in range(INVENTED)}
    return rng.sample(free, len(free)) + [noun for noun in invented if noun not in taken]


def _invented(rng: random.Random) -> str:
    """A word of two or three syllables that nobody knows: "velmar", "tovarin"."""
    syllables = [rng.choice("bdfgklmnprstvz") + rng.choice("aeiou") for _ in range(rng.randint(2, 3))]
    return "".join(syllables) + rng.choice("lmnrtx")


def _child(parent: Blueprint, noun: str, rng: random.Random) -> Blueprint:
    fields = [_number(rng), rng.choice((_words, _choice))(rng)]
    if rng.random() < 0.6:
        fields.append(rng.choice((_number, _words, _choice))(rng))
    if rng.random() < INHERITED:
        fields.append(rng.choice(list(parent.fields.values())))
    kept = {field.name: field for field in fields if field.name != noun}
    every = [operation for kind, wanted in NEEDS.items() for operation in _operations(kind, wanted, kept)]
    names = rng.choice([pool for pool in RECORD_NAMES if pool in POOLS])
    return Blueprint(parent.category, noun, noun, names, kept, tuple(rng.sample(every, min(OPERATIONS, len(every)))))


def _operations(kind: str, wanted: str, fields: dict[str, Field]) -> list[Operation]:
    if wanted == "none":
        return [Operation(kind)]
    fits = {
        "any": lambda f: True,
        "number": lambda f: f.number,
        "words": lambda f: not f.number,
        "choices": lambda f: bool(f.choices),
    }
    chosen = [field for field in fields.values() if fits[wanted](field)]
    if kind == "mark":
        return [Operation(kind, field.name, value) for field in chosen for value in field.choices[:1]]
    return [Operation(kind, field.name) for field in chosen]


def _number(rng: random.Random) -> Field:
    least = rng.choice((0, 1, 5, 10))
    return Field(rng.choice(NUMBERS), least=least, most=least + rng.choice((40, 90, 400, 900)))


def _words(rng: random.Random) -> Field:
    name = rng.choice(list(WORDS))
    return Field(name, pool=WORDS[name])


def _choice(rng: random.Random) -> Field:
    name = rng.choice(list(CHOICES))
    return Field(name, choices=tuple(CHOICES[name].split()))
