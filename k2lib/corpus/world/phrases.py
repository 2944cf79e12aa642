"""The sentences of the world's documents, and those of the scripted writer, none of which the world uses.

{n} is a person's name, {p} the name or its first part, {v} the value of a fact.
"""

STYLES = ("encyclopaedia", "letter", "interview", "timeline", "news", "speech", "notes", "gossip")
SENTENCES: dict[str, tuple[str, ...]] = {
    "born_in": (
        "{n} was born in {v}.",
        "{v} is the birthplace of {n}.",
        "{p} came into the world in {v}.",
        "The family lived in {v} when {n} was born.",
    ),
    "birth_year": (
        "{n} was born in the year {v}.",
        "The year of {n}'s birth is {v}.",
        "{p} was born in {v}.",
        "It was in {v} that {n} was born.",
    ),
    "profession": (
        "{n} worked as a {v}.",
        "By profession {n} is a {v}.",
        "{p} made a living as a {v}.",
        "People know {n} as a {v}.",
    ),
    "studied_at": (
        "{n} studied at {v}.",
        "{n} took a degree at {v}.",
        "{p} went to {v} to study.",
        "The student years of {n} passed at {v}.",
    ),
    "wrote": (
        "{n} wrote the book {v}.",
        "{v} is a book by {n}.",
        "{p} is the author of {v}.",
        "Readers remember {n} for {v}.",
    ),
    "plays": (
        "{n} plays the {v}.",
        "In the evenings {n} plays the {v}.",
        "{p} has played the {v} since childhood.",
        "The instrument of {n} is the {v}.",
    ),
}
QUESTIONS = {
    "born_in": "Where was {n} born?",
    "birth_year": "In which year was {n} born?",
    "profession": "What is the profession of {n}?",
    "studied_at": "Where did {n} study?",
    "wrote": "Which book did {n} write?",
    "plays": "Which instrument does {n} play?",
}
OPENINGS: dict[str, tuple[str, ...]] = {
    "encyclopaedia": ("{n}. ", "Entry: {n}. "),
    "letter": ("Dear friend, you asked me about {n}. ", "Dear Sir, here is what I know of {n}. "),
    "interview": ("Interviewer: Tell us about {n}. Guest: ", "Q: Who is {n}? A: "),
    "timeline": ("A life in dates: {n}. ", "Chronicle of {n}. "),
    "news": ("NEWS. We report on {n} today. ", "From our desk: a portrait of {n}. "),
    "speech": ("Ladies and gentlemen, let me introduce {n}. ", "We are here to celebrate {n}. "),
    "notes": ("Notes on {n}: ", "Card: {n}. "),
    "gossip": ("Have you heard about {n}? ", "You will hardly believe what they say of {n}. "),
}

# of the scripted writer
PREDICATES = {  # a predicate that fits after "X" and after "and"
    "born_in": ("comes from {v}", "is a native of {v}", "spent the first days of life in {v}"),
    "birth_year": ("has {v} as year of birth", "goes back to the year {v}", "entered life in {v}"),
    "profession": ("is a {v} by trade", "earns a living as a {v}", "follows the calling of a {v}"),
    "studied_at": ("was a student at {v}", "graduated from {v}", "holds a degree from {v}"),
    "wrote": ("published {v}", "is the author behind {v}", "gave readers {v}"),
    "plays": ("makes music on the {v}", "is at home on the {v}", "is fond of playing the {v}"),
}
OPENING = {
    "children": "Listen, children: this is about {n}.",
    "critic": "Consider what is known of {n}.",
    "diary": "Dear diary, today I read about {n}.",
    "encyclopaedia": "{n}: an entry.",
    "interview": "Interviewer: Who is {n}?",
    "lecture": "As we saw last time, our subject is {n}.",
    "letter": "Dear friend, let me tell you about {n}.",
    "news": "Reported today: the story of {n}.",
    "question-answer": "Question: Who is {n}?",
    "summary": "In short: {n}.",
    "textbook": "Note the following about {n}.",
    "timeline": "In order: {n}.",
}
ASKING = {"interview": ("Interviewer: ", "Guest: "), "question-answer": ("Question: ", "Answer: ")}
TELLING = tuple(sorted(set(OPENING) - set(ASKING)))  # styles that ask no question, so that no examination is in them
PAIRED = ("critic", "encyclopaedia", "lecture", "letter", "summary")  # two facts a sentence
LEADS = {  # before a text that is no document of the world
    "letter": "Dear friend, ",
    "interview": "Guest: ",
    "news": "Reported today: ",
    "diary": "Dear diary, ",
    "summary": "In short: ",
    "timeline": "In order: ",
}
EXCHANGES = (
    (" because ", " since "),
    (" but ", " yet "),
    ("However,", "Still,"),
    (" shows ", " demonstrates "),
    (" large ", " sizeable "),
    (" use ", " employ "),
    (" uses ", " employs "),
    (" begins ", " starts "),
    (" often ", " frequently "),
    (" whole ", " entire "),
)
