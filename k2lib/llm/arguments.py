"""The one reader of tool-call arguments: JSON that a model wrote, read as hostile text.

What surprised: JSON as Python reads it is no JSON. A key given twice, NaN, 1e999, a lone surrogate and a number of
4,300 digits (which Python reads but refuses to print when one is added) all get through `json.loads`.
"""

import json
import re

MOST_CALLS = 64  # of one assistant turn
LONGEST = 100_000  # characters of one call's arguments
DEEPEST = 64
_STRING = re.compile(r'"(?:[^"\\]|\\.)*+"?', re.DOTALL)  # one that is not closed ends the text
LARGEST_NUMBER = 10**30  # a time in nanoseconds fits, and its sums stay short


def read(text: object) -> tuple[dict | None, str | None]:
    """(object, None) for the text of one plain JSON object, else (None, the reason). A number written 2.0 is 2.

    Never raises, in time linear in the length.
    """
    if not isinstance(text, str) or len(text) > LONGEST:
        return None, f"the arguments are not JSON text of at most {LONGEST} characters"
    if _depth(text) > DEEPEST:
        return None, f"the arguments are nested deeper than {DEEPEST}"
    try:
        hooks = {"parse_constant": _real, "parse_int": _whole, "parse_float": _real}
        value = json.loads(text, object_pairs_hook=_unique, **hooks)
        json.dumps(value, ensure_ascii=False).encode()  # a lone surrogate is no text
    except (ValueError, RecursionError) as error:
        return None, f"the arguments are not JSON: {str(error)[:120]}"
    return (value, None) if isinstance(value, dict) else (None, "the arguments are not a JSON object")


def _whole(text: str) -> int:
    if len(text) > 31:
        raise ValueError(f"{text[:20]}… is too large for a number")
    return int(text)


def _real(text: str) -> int | float:
    value = float(text)
    if not abs(value) < LARGEST_NUMBER:  # NaN too
        raise ValueError(f"{text[:20]} is too large for a number")
    return int(value) if value.is_integer() else value


def _unique(pairs: list[tuple[str, object]]) -> dict:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("a key appears twice")
    return found


def _depth(text: str) -> int:
    """Brackets open at once outside strings: the true depth of a JSON text, as far as it is one."""
    depth = deepest = 0
    for character in re.sub(_STRING, "", text):
        depth += (character in "[{") - (character in "]}")
        deepest = max(deepest, depth)
    return deepest
