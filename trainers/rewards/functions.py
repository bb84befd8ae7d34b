"""The rewards that are functions of an answer's text.

    exact_answer:FIELD       1 where the answer is the text of the example's field
    number_after:MARKER      1 where the number after the marker is the example's
    regex:PATTERN            1 where the pattern is found in the answer
    contains:TEXT            1 where the answer has the text
    json_valid:KEYS          1 where the answer is JSON, and has the keys if any
    length:COUNT UNIT        minus the distance to a length, as a share of it
    repetition:WORDS         minus the share of runs of words that the answer repeats
    language:CODE            1 where the answer is in the language

Each entry of `BUILT_IN` makes the function of a sample from the argument. It raises
ValueError for an argument that is wrong. This module imports neither TensorFlow nor
NumPy, so that workers start fast.
"""

import importlib
import importlib.util
import json
import re
import unicodedata
from collections.abc import Callable
from fractions import Fraction
from typing import Any

from trainers.rewards.sample import Sample
from zoo.fields import one_of, suggest

Score = Callable[[Sample], float]

_FIELD = "answer"  # of an example, where the argument names no other
# What may stand between a marker and its number: spaces, Markdown, a currency.
_NUMBER = re.compile(
    r"[\s:=*]*([-+−]?)\s*[$€£¥]?\s*([-−]?)"
    r"(\d{1,3}(?:,\d{3})+|\d{1,40})?(\.\d{1,40})?(?:\s?/\s?(\d{1,20}))?"
    r"(?!\d)(?!\s?/\s?\d)(?!\.\d)(?!,\d)"
)
_EDGES = " .,;:!?\"'`*“”‘’"  # left out around an exact answer
_UNITS = ("characters", "tokens")
_LANGUAGES = "py3langid"  # Lui and Baldwin 2012


def number(text: str) -> Fraction | None:
    """The number that a text begins with, exactly; None where there is none.

    Thousands may have commas, and a sign and a currency may stand before the number.
    `1,234.50`, `-$5`, `$-5`, `.5`, `1/2`, `**18** eggs` and `50%` are numbers; the `%`
    is not read. `1.2.3` and `1,5` are none.
    """
    match = _NUMBER.match(text)
    if match is None or not (match[3] or match[4]):
        return None
    sign, inner, whole, part, below = match.groups()
    if sign and inner or below and int(below) == 0:
        return None
    value = Fraction((whole or "0").replace(",", "") + (part or ""))
    if below:
        value /= int(below)
    return -value if {sign, inner} & {"-", "−"} else value


def normalized(text: str) -> str:
    """A text in one Unicode form, without case, extra spaces and marks at its ends."""
    text = unicodedata.normalize("NFKC", text).casefold()
    return " ".join(text.split()).strip(_EDGES)


def _exact_answer(argument: str) -> Score:
    """Compares the normalized answer with one or several right ones."""
    field = _answer_column(argument)

    def score(sample: Sample) -> float:
        right = _value(sample, field)
        right = right if isinstance(right, list) else [right]
        return float(normalized(sample.answer) in {normalized(str(r)) for r in right})

    return score


def _number_after(argument: str) -> Score:
    """Compares the number after the first marker with that of the example."""
    marker, field = argument.partition("|")[0], _number_column(argument)
    if not marker.strip():
        raise ValueError("the argument is empty; a marker such as #### allowed.")

    def found(text: str) -> Fraction | None:
        before, there, after = text.partition(marker)
        return number(after) if there else None

    def score(sample: Sample) -> float:
        right = _value(sample, field)
        text = str(right)
        wanted = found(text) if marker in text else number(text)
        if wanted is None:
            raise ValueError(
                f"the example's {field} {text[-60:]!r} has no number after {marker!r}."
            )
        return float(found(sample.answer) == wanted)

    return score


def _regex(argument: str) -> Score:
    """Searches a pattern; a slow one meets the time limit of the worker."""
    if not argument:
        raise ValueError("the argument is empty; a pattern allowed.")
    try:
        pattern = re.compile(argument)
    except re.error as error:
        raise ValueError(f"{argument!r} is no pattern: {error}.") from None
    return lambda sample: float(pattern.search(sample.answer) is not None)


def _contains(argument: str) -> Score:
    """Searches a text."""
    if not argument:
        raise ValueError("the argument is empty; a text allowed.")
    return lambda sample: float(argument in sample.answer)


def _json_valid(argument: str) -> Score:
    """Parses the answer; with keys, it must be an object that has them all."""
    keys = {key.strip() for key in argument.split(",")} if argument else set()

    def score(sample: Sample) -> float:
        try:
            value = json.loads(sample.answer, parse_constant=_refuse)
        except (ValueError, RecursionError):
            return 0.0
        return float(not keys or isinstance(value, dict) and keys <= value.keys())

    return score


def _refuse(name: str) -> None:
    """Refuses NaN and Infinity, which are no JSON."""
    raise ValueError(name)


def _length(argument: str) -> Score:
    """Minus the distance to a length, divided by that length."""
    count, _, unit = argument.partition(" ")
    unit = unit.strip() or "tokens"
    one_of("the unit", unit, _UNITS)
    if not count.isdecimal() or int(count) < 1:
        raise ValueError(
            f"{argument!r}, a length such as 50 or 200 characters allowed."
        )
    target = int(count)

    def score(sample: Sample) -> float:
        size = sample.length if unit == "tokens" else len(sample.answer)
        return -abs(size - target) / target

    return score


def _repetition(argument: str) -> Score:
    """Minus the share of runs of words that stand in the answer before."""
    if argument and (not argument.isdecimal() or int(argument) < 1):
        raise ValueError(f"{argument!r}, a number of words, at least 1, allowed.")
    size = int(argument or 3)

    def score(sample: Sample) -> float:
        words = sample.answer.lower().split()
        runs = [tuple(words[i : i + size]) for i in range(len(words) - size + 1)]
        return len(set(runs)) / len(runs) - 1 if runs else 0.0

    return score


def _language(argument: str) -> Score:
    """Names the language of the answer by py3langid."""
    if importlib.util.find_spec(_LANGUAGES) is None:
        raise ValueError(f"needs one more package: pip install {_LANGUAGES}.")
    langid: Any = importlib.import_module(f"{_LANGUAGES}.langid")
    identifier = langid.LanguageIdentifier.from_model_file(langid.MODEL_FILE)
    one_of("the language", argument, set(identifier.labels))
    return lambda sample: float(identifier.classify(sample.answer)[0] == argument)


def _answer_column(argument: str) -> str:
    """The column of the right answers."""
    return argument or _FIELD


def _number_column(argument: str) -> str:
    """The column of the right number; it follows the marker."""
    return argument.partition("|")[2] or _FIELD


def _value(sample: Sample, field: str) -> Any:
    """A field of the example."""
    if field not in sample.example:
        raise ValueError(f"no column {field!r}.{suggest(field, sample.example)}")
    return sample.example[field]


BUILT_IN: dict[str, Callable[[str], Score]] = {
    "contains": _contains,
    "exact_answer": _exact_answer,
    "json_valid": _json_valid,
    "language": _language,
    "length": _length,
    "number_after": _number_after,
    "regex": _regex,
    "repetition": _repetition,
}

# The column that a reward reads, by its argument; the others read the answer alone.
COLUMNS: dict[str, Callable[[str], str]] = {
    "exact_answer": _answer_column,
    "number_after": _number_column,
}
