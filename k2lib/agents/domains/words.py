"""The values that records hold, many of each kind: with few, a model learns by heart which go with a tool, and never to copy."""

import random
import string

DAYS = ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"]
ROOMS = "bedroom kitchen office bathroom hall garage attic cellar studio library nursery porch".split()
DEVICES = "lamp heater fan radio camera humidifier printer speaker oven kettle projector alarm".split()
PEOPLE = (
    "Anna Boris Carla David Emma Frank Gina Henry Ida Jacob Karen Luca Maria Nora Oscar Paula Robert Sara Thomas Ursula "
    "Victor Walter Yara Zora Alice Bernard Cora Dennis Edith Fabian Gloria Harold"
).split()
CITIES = (
    "Paris Rome Berlin Madrid London Vienna Lisbon Prague Athens Dublin Oslo Helsinki Warsaw Geneva Milan Hamburg Seville "
    "Lyon Turin Bruges Cork Malta Tallinn Riga"
).split()
ITEMS = (
    "milk bread rice tea soap apples paper candles butter cheese pasta salt sugar flour lemons onions carrots pepper honey "
    "coffee juice yoghurt oil vinegar beans lentils mustard nuts plums grapes eggs spinach"
).split()
EVENTS = (
    "dentist lunch meeting concert training review party lecture dinner picnic workshop rehearsal interview exam wedding "
    "haircut hike match festival breakfast webinar audit lesson opera seminar tournament ceremony parade reunion swim debate visit"
).split()
FILES = (
    "report budget letter plan notes recipe invoice diary poem essay summary draft contract manual agenda ledger index speech "
    "resume thesis script journal survey memo outline receipt catalog glossary forecast roster archive sketch"
).split()
COMPANIES = (
    "Arvix Belmont Corvo Delphin Elkton Farrow Galant Hartley Ivorin Jessup Kestrel Lomax Merrow Norvik Ostrand Pelham Quorum "
    "Ravell Sundby Tarkin Umbra Velden Wexley Xanthos Yardley Zenith"
).split()
PROJECTS = (
    "Aurora Beacon Cascade Dynamo Eclipse Falcon Glacier Horizon Impulse Jigsaw Keystone Lantern Meridian Nebula Outpost Prism "
    "Quasar Ripple Summit Tempest Uplift Vector Whisper Zodiac"
).split()
SHIPS = (
    "Albatross Barnacle Cormorant Dolphin Endeavour Frigate Gannet Heron Ibis Jaeger Kittiwake Limpet Marlin Narwhal Osprey "
    "Puffin Quail Remora Seal Tern Urchin Viking Walrus Yellowfin"
).split()
HOUSES = [
    f"{tree} {kind}"
    for tree in "Oak Elm Pine Birch Cedar Maple Willow Rowan".split()
    for kind in ("House", "Court", "Lodge")
]
TITLES = [
    f"{what} {where}"
    for what in "Silent Golden Broken Hidden Distant Crimson".split()
    for where in ("River", "Garden", "Tower", "Road")
]
SUBJECTS = (
    "algebra biology chemistry drawing economics fencing geography history Italian juggling knitting Latin music pottery "
    "physics rhetoric sculpture theatre weaving zoology"
).split()
CROPS = (
    "barley clover flax hops lavender maize millet oats peas potatoes pumpkins rye sorghum squash turnips wheat".split()
)
DRUGS = (
    "aspirin codeine digoxin heparin ibuprofen insulin lithium morphine nicotine penicillin quinine warfarin".split()
)
COUNTRIES = (
    "Austria Belgium Chile Denmark Egypt Finland Ghana Hungary India Japan Kenya Latvia Mexico Norway Oman Peru Qatar Spain "
    "Turkey Uganda Vietnam Wales Yemen Zambia"
).split()
LANGUAGES = "Arabic Basque Czech Danish English Finnish German Hindi Irish Japanese Korean Latvian Polish Swedish Turkish".split()


def codes(rng: random.Random) -> str:
    """A letter, a hyphen and three digits: 26,000 values, which nobody learns by heart."""
    return f"{rng.choice(string.ascii_uppercase)}-{rng.randrange(1000):03}"


POOLS = {
    "days": DAYS, "rooms": ROOMS, "devices": DEVICES, "people": PEOPLE, "cities": CITIES, "items": ITEMS, "events": EVENTS,
    "files": FILES, "companies": COMPANIES, "projects": PROJECTS, "ships": SHIPS, "houses": HOUSES, "titles": TITLES,
    "subjects": SUBJECTS, "crops": CROPS, "drugs": DRUGS, "countries": COUNTRIES, "languages": LANGUAGES, "codes": codes,
}  # fmt: skip


def value(pool: str, rng: random.Random, taken: tuple[str, ...] = ()) -> str:
    """One of a pool that is not taken."""
    known = POOLS[pool]
    if callable(known):
        return next(code for code in iter(lambda: known(rng), None) if code not in taken)
    return rng.choice([word for word in known if word not in taken])
