"""The arithmetic that a text states, worked out again exactly: does 7 + 12 really make 18?

The text is a model's, so it is read as data: signs and numbers alone, short, by Python's parser and no evaluation of it.
"""

import ast
import re
from dataclasses import dataclass

_RUN = re.compile(r"[\d\s+*/×·÷−().,^=-]+")  # what arithmetic is written in; no text is passed over twice
_PAUSE = re.compile(r"\n|[.,;](?=\s|$)")  # a comma inside a number ends nothing
_SIGNS = str.maketrans({"×": "*", "·": "*", "÷": "/", "−": "-"})
LONGEST = 200  # characters of a side; no note needs more
LARGEST_POWER = 64


@dataclass(frozen=True)
class Equation:
    text: str
    holds: bool


def equations(text: str) -> list[Equation]:
    """Every equation between numbers in `text`, in order; a chain a = b = c is two. What cannot be read is no equation."""
    found = []
    for run in _RUN.findall(text):
        for part in _PAUSE.split(run) if "=" in run else ():
            sides = [side.strip() for side in part.split("=")]
            values = [_value(side) for side in sides]
            for (left, a), (right, b) in zip(
                zip(sides, values, strict=True), zip(sides[1:], values[1:], strict=True), strict=False
            ):
                if a is not None and b is not None:
                    found.append(Equation(f"{left} = {right}", bool(a == b)))
    return found


def _value(side: str):
    """The number that a side amounts to, exact; None if it is no arithmetic, divides by zero or goes beyond all reason."""
    if not side or len(side) > LONGEST:
        return None
    plain = re.sub(r"(?<=\d),(?=\d{3}\b)", "", side.translate(_SIGNS)).replace("^", "**")
    try:
        return _worked_out(ast.parse(plain, mode="eval").body)
    except (SyntaxError, ValueError, ZeroDivisionError, RecursionError, MemoryError):
        return None


def _worked_out(node: ast.expr):
    from sympy import Rational  # a second to import

    match node:
        case ast.Constant(value=int() | float()):
            return Rational(ast.unparse(node))
        case ast.UnaryOp(op=ast.USub(), operand=inner):
            return -_worked_out(inner)
        case ast.BinOp(left=left, op=ast.Add(), right=right):
            return _worked_out(left) + _worked_out(right)
        case ast.BinOp(left=left, op=ast.Sub(), right=right):
            return _worked_out(left) - _worked_out(right)
        case ast.BinOp(left=left, op=ast.Mult(), right=right):
            return _worked_out(left) * _worked_out(right)
        case ast.BinOp(left=left, op=ast.Div(), right=right):
            divisor = _worked_out(right)
            if divisor == 0:
                raise ZeroDivisionError
            return _worked_out(left) / divisor
        case ast.BinOp(left=left, op=ast.Pow(), right=right):
            base, power = _worked_out(left), _worked_out(right)
            if not (power.is_Integer and 0 <= power <= LARGEST_POWER and abs(base) <= 10**9):
                raise ValueError("a power beyond all reason")
            return base**power
    raise ValueError("no arithmetic")
