"""The public kinds of verifiable instructions (IFEval, arXiv 2311.07911), for measuring only: none of them is trained on.

Written anew from the paper's descriptions: the published checks need data from the network for sentences and languages.
"""

import json
import random
import re

from k2lib.gym.constraints import (
    WORDS,
    Constraint,
    a_letter,
    a_number,
    a_word,
    bullets,
    has,
    lines,
    paragraphs,
    sentences,
    words,
)

STOPWORDS = {
    "English": "the of and to in is that it was for",
    "German": "der die und das ist nicht ein eine mit den",
    "French": "le la les et est une des dans pour que",
    "Spanish": "el los las y es una del para que con",
}
CHOICES = ("My answer is yes.", "My answer is no.", "My answer is maybe.")
ENDS = ("Is there anything else I can help with?", "That is all.")


def language(text: str) -> str:
    """Which of four languages most of the small words of a text belong to."""
    found = [one.lower() for one in words(text)]
    return max(STOPWORDS, key=lambda name: sum(one in STOPWORDS[name].split() for one in found))


def _json(text: str) -> bool:
    try:
        return isinstance(json.loads(text), dict | list)
    except (ValueError, RecursionError):
        return False


def _few(rng: random.Random) -> dict:
    return {"n": rng.randint(1, 3)} | a_word(rng)


PUBLIC = {
    "keyword": Constraint("Use the word {word}.", a_word, lambda text, word: has(text, word) > 0),
    "keyword frequency": Constraint(
        "Use the word {word} at least {n} times.", _few, lambda text, n, word: has(text, word) >= n
    ),
    "forbidden word": Constraint(
        "Do not use the word {word}.", a_word, lambda text, word: bool(words(text)) and has(text, word) == 0
    ),
    "letter frequency": Constraint(
        "Use the letter {letter} at least {n} times.",
        lambda rng: a_letter(rng) | {"n": rng.randint(3, 12)},
        lambda text, letter, n: text.lower().count(letter) >= n,
    ),
    "language": Constraint(
        "Answer in {name}.",
        lambda rng: {"name": rng.choice(list(STOPWORDS))},
        lambda text, name: len(words(text)) > 4 and language(text) == name,
    ),
    "paragraphs": Constraint(
        "Write {n} paragraphs, parted by the divider ***.",
        a_number(2, 5),
        lambda text, n: len(parts := text.split("***")) == n and all(words(one) for one in parts),
    ),
    "words": Constraint("Use at least {n} words.", a_number(10, 60), lambda text, n: len(words(text)) >= n),
    "sentences": Constraint(
        "Use at most {n} sentences.", a_number(1, 5), lambda text, n: 0 < len(sentences(text)) <= n
    ),
    "first word": Constraint(
        "Write {n} paragraphs, parted by an empty line; begin paragraph {place} with the word {word}.",
        lambda rng: {"n": (n := rng.randint(2, 4)), "place": rng.randint(1, n)} | a_word(rng),
        lambda text, n, place, word: len(found := paragraphs(text)) == n and words(found[place - 1])[:1] == [word],
    ),
    "postscript": Constraint(
        "Add a postscript that begins with P.S. at the end.",
        lambda rng: {},
        lambda text: bool(re.search(r"^P\.S\. ?\w.*\Z", text, re.MULTILINE | re.DOTALL)),
    ),
    "placeholders": Constraint(
        "Use at least {n} placeholders in square brackets, such as [name].",
        a_number(1, 4),
        lambda text, n: len(re.findall(r"\[\w[^\[\]]*\]", text)) >= n,
    ),
    "bullets": Constraint("Use exactly {n} bullet points.", a_number(1, 5), lambda text, n: len(bullets(text)) == n),
    "title": Constraint(
        "Give your text a title in double angular brackets, such as <<title>>.",
        lambda rng: {},
        lambda text: any(words(one) for one in re.findall(r"<<([^<>\n]+)>>", text)),
    ),
    "choice": Constraint(
        "Answer with one of these sentences alone: " + " ".join(CHOICES), lambda rng: {}, lambda text: text in CHOICES
    ),
    "highlights": Constraint(
        "Highlight at least {n} parts with asterisks, such as *this*.",
        a_number(1, 3),
        lambda text, n: len(re.findall(r"(?<!\*)\*[^\s*][^*\n]*\*(?!\*)", text)) >= n,
    ),
    "sections": Constraint(
        "Write {n} sections, each begun by a line Section X, with X its number.",
        a_number(2, 4),
        lambda text, n: (
            [line for line in lines(text) if line.startswith("Section ")] == [f"Section {i}" for i in range(1, n + 1)]
        ),
    ),
    "JSON": Constraint("Give your whole answer as JSON.", lambda rng: {}, _json),
    "two responses": Constraint(
        "Give two different answers, parted by six asterisks: ******.",
        lambda rng: {},
        lambda text: (
            len(parts := [one.strip() for one in text.split("******")]) == 2
            and all(map(words, parts))
            and parts[0] != parts[1]
        ),
    ),
    "capitals": Constraint(
        "Write in capital letters only.",
        lambda rng: {},
        lambda text: bool(words(text)) and text == text.upper() != text.lower(),
    ),
    "small letters": Constraint(
        "Write in small letters only.",
        lambda rng: {},
        lambda text: bool(words(text)) and text == text.lower() != text.upper(),
    ),
    "capital words": Constraint(
        "Let at least {n} words be in capitals throughout.",
        a_number(1, 4),
        lambda text, n: sum(len(one) > 1 and one.isupper() for one in words(text)) >= n,
    ),
    "ending": Constraint(
        "End with exactly these words: {end}",
        lambda rng: {"end": rng.choice(ENDS)},
        lambda text, end: text.endswith(end) and text.count(end) == 1,
    ),
    "quotation": Constraint(
        "Put your whole answer into double quotation marks.",
        lambda rng: {},
        lambda text: len(text) > 2 and text[0] == text[-1] == '"' and '"' not in text[1:-1],
    ),
    "no commas": Constraint("Use no commas.", lambda rng: {}, lambda text: bool(words(text)) and "," not in text),
    "repeat": Constraint(
        "First repeat this sentence word for word: The {word} is old. Then go on.",
        lambda rng: {"word": rng.choice(WORDS)},
        lambda text, word: text.startswith(said := f"The {word} is old.") and len(words(text)) > len(words(said)),
    ),
}
