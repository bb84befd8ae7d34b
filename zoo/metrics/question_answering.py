"""Short answers beside one or several right ones.

Source: the official script of SQuAD 1.1 (Rajpurkar et al. 2016, arXiv:1606.05250).
"""

import collections
import re
import string
from collections.abc import Sequence

_ARTICLES = re.compile(r"\b(a|an|the)\b")
_PUNCTUATION = str.maketrans("", "", string.punctuation)
# as the code of Cobbe et al. 2021 (arXiv:2110.14168) finds an answer
_FINAL = re.compile(r"#### (-?[0-9.,]+)")


def normalized(text: str) -> str:
    """A text without case, ASCII punctuation, English articles and extra spaces."""
    text = text.lower().translate(_PUNCTUATION)
    return " ".join(_ARTICLES.sub(" ", text).split())


def exact_match(answer: str, references: Sequence[str]) -> float:
    """1 where the normalized answer is one of the normalized references, else 0.

    Raises:
      ValueError: there is no reference.
    """
    _check(references)
    return float(normalized(answer) in map(normalized, references))


def f1(answer: str, references: Sequence[str]) -> float:
    """The F1 of the normalized words, 0 to 1; of several references the best.

    Raises:
      ValueError: there is no reference.
    """
    _check(references)
    return max(_f1(answer, reference) for reference in references)


def final_number(text: str) -> float | None:
    """The number behind the first `#### ` of a text, without commas; None without one.

    GSM8K's solutions end so: `#### 1,234`.
    """
    match = _FINAL.search(text)
    try:
        return float(match[1].replace(",", "")) if match else None
    except ValueError:  # such as 1.2.3
        return None


def _f1(answer: str, reference: str) -> float:
    """The F1 of the words that two texts share."""
    words = normalized(answer).split(), normalized(reference).split()
    shared = sum(
        (collections.Counter(words[0]) & collections.Counter(words[1])).values()
    )
    return 2 * shared / sum(map(len, words)) if shared else 0.0


def _check(references: Sequence[str]) -> None:
    """Refuses no reference, and one text, which is a sequence of letters too."""
    if isinstance(references, str) or not references:
        raise ValueError(f"references: {references!r:.60}, a list of texts allowed.")
