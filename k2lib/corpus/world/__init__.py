"""A small world of people whose facts are known, because we made them up: the only corpus where every answer can be checked.

`names` and `phrases` are its words, `facts` its people and documents, `restyle` tells a document anew by rule.
"""

from k2lib.corpus.world.facts import QA, Fact, World, question_text
from k2lib.corpus.world.phrases import STYLES, TELLING

__all__ = ["QA", "STYLES", "TELLING", "Fact", "World", "question_text"]
