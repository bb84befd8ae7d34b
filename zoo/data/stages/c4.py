"""The filter of C4 (Raffel et al. 2020, JMLR 21, 140, section 2.2).

Lines that stay end in a terminal punctuation mark, have enough words, none of them
longer than 1,000 characters, and do not mention JavaScript, cookies or terms of use.
Marks of citations such as "[3]" are removed. A text with a curly bracket or "lorem
ipsum" in such a line is dropped, and one with too few sentences.

Terminal marks and sentences of Chinese, Japanese and Korean count too. In a text
without spaces each character is a word. A sentence ends at a terminal mark with white
space behind it, or at an ideographic one; abbreviations such as "Mr." end one as well.
"""

import dataclasses
import re

from zoo.data.stages.kinds import count, is_unspaced
from zoo.data.stages.stage import Dropped, Maker, Stage, options

_CITATIONS = re.compile(r"\[(?:\d{0,9}|edit|citation needed)\]")
# The marks of C4, then ideographic full stops, closing brackets and quotes.
_IDEOGRAPHIC = "\u3002\uff01\uff1f\uff0e\uff61"
_CLOSING = "\u300d\u300f\uff09\u201d\u2019"
_END = (*".?!\"'", *_IDEOGRAPHIC, *_CLOSING, "\u2026\u2026")
_SENTENCE = re.compile(
    rf"[.?!]+[\"')\]{_CLOSING}]*(?=\s|$)|[{_IDEOGRAPHIC}]+[{_CLOSING}]*"
)
_POLICY = re.compile(
    "terms of use|privacy policy|cookie policy|uses cookies|use of cookies|use cookies"
)


@dataclasses.dataclass(frozen=True)
class C4:
    """Thresholds of c4_quality; those of the paper are the defaults.

    Attributes:
      min_words: words of a line that stays.
      min_sentences: sentences of a text that stays.
      max_length: characters of a word in a line that stays.
    """

    min_words: int = 5
    min_sentences: int = 3
    max_length: int = 1000


def _c4(argument: str) -> Stage:
    """The stage c4_quality."""
    limits: C4 = options(C4, argument)

    def run(text: str) -> str | Dropped:
        kept, sentences = [], 0
        for line in text.splitlines():
            line = _citations(line.strip())
            if not _is_kept(line, limits):
                continue
            lower = line.lower()
            if "lorem ipsum" in lower:
                return Dropped("lorem ipsum")
            if "javascript" in lower:
                continue
            if "{" in line:
                return Dropped("a curly bracket")
            if _POLICY.search(lower):
                continue
            sentences += max(1, len(_SENTENCE.findall(line)))
            kept.append(line)
        if sentences < limits.min_sentences:
            return Dropped("too few sentences")
        return "\n".join(kept).strip()

    return run


def _citations(line: str) -> str:
    """The line without marks of citations."""
    return _CITATIONS.sub("", line) if "[" in line else line


def _is_kept(line: str, limits: C4) -> bool:
    """Whether a line ends as one should, and has words as it should."""
    if not line.endswith(_END) or line.endswith("..."):
        return False
    if is_unspaced(line):
        return count(line).words >= limits.min_words
    words = line.split()
    # No word is longer than the line.
    fits = len(line) <= limits.max_length or max(map(len, words)) <= limits.max_length
    return len(words) >= limits.min_words and fits


STAGES: dict[str, Maker] = {"c4_quality": _c4}
