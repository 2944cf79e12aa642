"""The values that wishes are made of, many of each kind, and how a user may be asked for one.

With few values a model learns by heart which go with a tool, and never to copy the one it was told.
"""

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
QUESTION_WORDS = {  # how a question for a withheld detail may put it, beside its name
    "day": ("date", "when"),
    "quantity": ("how many", "how much", "amount"),
    "degrees": ("temperature", "how warm"),
}
