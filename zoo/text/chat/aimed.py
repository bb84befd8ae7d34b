"""Contents that are aimed at the tests of a chat template: one for each set of answers.

Example: for the tests `content starts "<a>"` and `content ends "</a>"` the contents
"x", "", "<a>", "</a>" and "<a></a>" are tried. They have three sets of answers in which
at most one is yes, and one in which both are.
"""

import itertools
from typing import NamedTuple

from zoo.text.chat.questions import SPACES, Test

_MOST_CONTENTS = 4096
_ATOMS = ("x", " ", "\n")


class Symbol(NamedTuple):
    """A kind of messages that a template treats alike.

    Attributes:
      role: of the message.
      answers: to the tests for contents of this role.
      content: an example.
    """

    role: str
    answers: tuple[bool, ...]
    content: str


def symbols(role: str, tests: list[Test]) -> list[Symbol]:
    """A symbol for each set of answers that is found; first that of the content "x"."""
    found = {}
    for content in _contents(tests):
        answers = tuple(test.answer(content) for test in tests)
        found.setdefault(answers, Symbol(role, answers, content))
    return list(found.values())


def _contents(tests):
    """Contents from the texts of tests: each text, then pairs, then triples."""
    atoms: dict[str, None] = dict.fromkeys(_ATOMS)
    for test in tests:
        for text in (*test.texts, *(text for op in test.ops for text in op[1:])):
            # The characters of a strip are no text.
            atoms.update(dict.fromkeys([text] if text != SPACES else []))
    atoms.pop("", None)
    yield "x"
    yield ""
    yield from atoms
    for size in (2, 3):
        if len(atoms) ** size <= _MOST_CONTENTS:
            yield from map("".join, itertools.product(atoms, repeat=size))
    if len(atoms) ** 2 > _MOST_CONTENTS:
        yield from (first + second for first in atoms for second in _ATOMS)
