"""The rewards of `benchmarks.align_story`: is the arithmetic of a solution right?

The solutions of GSM8K (Cobbe et al. 2021, arXiv:2110.14168) have annotations of a
calculator, such as <<48/2=24>>. This module imports no TensorFlow, so that the workers
that score answers start fast.
"""

import operator
import re
from fractions import Fraction

from trainers import rewards

_ANNOTATION = re.compile(r"<<([^<>]*)>>")
_END = re.compile(r"#### *-?\$?\d[\d,]*(?:\.\d+)? *")
_PART = re.compile(r"\s*(?:(\d+(?:\.\d+)?|\.\d+)(%?)|([-+*/()]))")
_LONGEST = 60  # characters of an annotation; more is counted as wrong
_STEPS = {
    "+": operator.add,
    "-": operator.sub,
    "*": operator.mul,
    "/": operator.truediv,
}


@rewards.register("annotations")
def annotations(sample: rewards.Sample) -> float:
    """The share of right annotations, 0 without any. What is no arithmetic is wrong.

    An answer without an end gets it too: a model that is seldom right needs a reward
    that also pays part of the way.
    """
    found = texts(sample.answer)
    return sum(map(right, found)) / len(found) if found else 0.0


@rewards.register("ending")
def ending(sample: rewards.Sample) -> float:
    """1 where the last line is "#### NUMBER"."""
    last = sample.answer.rstrip().rpartition("\n")[2]
    return float(_END.fullmatch(last) is not None)


@rewards.register("trivial")
def trivial(sample: rewards.Sample) -> float:
    """The share of annotations that no question needs; no part of the reward.

    Such ones have no operator, an operand 0 or 1 of a single operation, or stand in the
    answer before.
    """
    found = texts(sample.answer)
    easy = [
        text in found[:number] or not re.search(r"\d\s*[-+*/]", text) or _idle(text)
        for number, text in enumerate(found)
    ]
    return sum(easy) / len(found) if found else 0.0


def texts(answer: str) -> list[str]:
    """The texts of the annotations of an answer, such as 48/2=24."""
    return _ANNOTATION.findall(answer)


def right(text: str) -> bool:
    """Whether the text of an annotation, such as 48/2=24, is a true equation.

    Decimals may be rounded to as many places as the result has, but to two at least.
    """
    if len(text) > _LONGEST:
        return False
    left, _, result = text.rpartition("=")
    try:
        made, said = value(left), value(result)
    except (ValueError, ZeroDivisionError):
        return False
    places = max(len(result.strip().rstrip("%").partition(".")[2]), 2)
    exact = made.denominator == 1
    return made == said if exact else abs(made - said) <= Fraction(1, 2 * 10**places)


def value(text: str) -> Fraction:
    """The value of numbers with + - * / and brackets, exactly.

    Raises:
      ValueError: the text is something else.
      ZeroDivisionError: it divides by 0.
    """
    parts, at = [], 0
    text = text.rstrip()
    while at < len(text):
        match = _PART.match(text, at)
        if match is None:
            raise ValueError(f"{text!r}: no arithmetic.")
        number, percent, mark = match.groups()
        parts.append(mark or Fraction(f"0{number}") / (100 if percent else 1))
        at = match.end()
    parts.reverse()  # the next part is the last of the list
    found = _sum(parts)
    if parts:
        raise ValueError(f"{text!r}: no arithmetic.")
    return found


def _sum(parts) -> Fraction:
    """Takes a sum of products from the parts."""
    found = _product(parts)
    while parts and parts[-1] in ("+", "-"):
        found = _STEPS[parts.pop()](found, _product(parts))
    return found


def _product(parts) -> Fraction:
    """Takes a product of numbers and brackets from the parts."""
    found = _factor(parts)
    while parts and parts[-1] in ("*", "/"):
        found = _STEPS[parts.pop()](found, _factor(parts))
    return found


def _factor(parts) -> Fraction:
    """Takes a number, perhaps with a sign, or a bracket from the parts."""
    if not parts:
        raise ValueError("a number is missing.")
    part = parts.pop()
    if isinstance(part, Fraction):
        return part
    if part == "-":
        return -_factor(parts)
    if part == "(":
        found = _sum(parts)
        if parts and parts.pop() == ")":
            return found
    raise ValueError(f"{part!r}: a number is missing.")


def _idle(text: str) -> bool:
    """Whether one operation has an operand 0 or 1."""
    match = re.fullmatch(r"\s*([\d.]+)\s*[-+*/]\s*([\d.]+)\s*=.*", text)
    return match is not None and bool({"0", "1"} & set(match.groups()))
