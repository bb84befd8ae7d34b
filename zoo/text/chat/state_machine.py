"""A chat template as a state machine: what text is written around each message.

Each message is a symbol: its role, and the answers to the tests that the template makes
on such contents. The rule of a message depends on its symbol, on the messages before
it and on the messages behind it. A forward automaton reads the messages before it, a
backward automaton those behind it (a bimachine: Schuetzenberger 1961, "A Remark on
Finite Transducers"). The last message is always a user's.

Example: a template writes `(kept)` before an assistant's message that starts with
"plan:" if the last message starts with "result:".

    symbols: user, user "result:", assistant, assistant "plan:"
    forward states: 0 for all messages before
    backward states: 0 nothing behind, 1 the last is user, 2 the last is user "result:"
    rule of (0, assistant "plan:", 2): "(kept)", content
    rule of (0, assistant "plan:", 1): content

`zoo.text.chat.learn` finds the machine of a template; `zoo.text.chat.in_graph` runs it
in a TensorFlow graph.
"""

import dataclasses
from collections.abc import Sequence
from typing import NamedTuple

from zoo.text.chat.questions import DATE, Ops, Test, applied

ROLES = ("system", "user", "assistant")
OWN, FIRST = "own", "first"
DEAD = -1


class Slot(NamedTuple):
    """A place for a text that is not the template's.

    Attributes:
      source: `OWN` for the content of the message itself, `FIRST` for that of the first
        message, `DATE` for the date.
      ops: the steps from that text to what is written.
    """

    source: str
    ops: Ops = ()


Rule = tuple[str | Slot, ...]


@dataclasses.dataclass(frozen=True)
class MessageRule:
    """How one message is written.

    Attributes:
      parts: texts of the template and slots. Text between two contents is before the
        second one; text behind the last content belongs to the last message.
    """

    parts: Rule = ()

    def write(self, content: str, first: str, date: str) -> str:
        """The text of the message."""
        texts = {OWN: content, FIRST: first, DATE: date}
        return "".join(
            part if isinstance(part, str) else applied(part.ops, texts[part.source])
            for part in self.parts
        )


@dataclasses.dataclass(frozen=True)
class ChatMachine:
    """The rules of a chat template.

    Attributes:
      tests: by role, what is asked about a content.
      symbols: from a role and the answers to the number of a symbol; contents with
        other answers are not allowed.
      next_state: [S][K], the forward state after a symbol, or `DEAD`.
      ends: [S][K], whether a chat may end with a symbol after a state.
      back_state: [R][K], the backward state before a symbol; state 0 is the end.
      rules: by forward state, symbol and backward state.
      date_format: how `strftime` writes the date of the slots; "" without a date.
    """

    tests: dict[str, tuple[Test, ...]]
    symbols: dict[tuple[str, tuple[bool, ...]], int]
    next_state: tuple[tuple[int, ...], ...]
    ends: tuple[tuple[bool, ...], ...]
    back_state: tuple[tuple[int, ...], ...]
    rules: dict[tuple[int, int, int], MessageRule]
    date_format: str = ""

    @property
    def uses_date(self) -> bool:
        """Whether a chat's text has the date."""
        return bool(self.date_format)

    def roles(self) -> list[str]:
        """The role of each symbol."""
        return [
            role for _, role in sorted({(n, r) for (r, _), n in self.symbols.items()})
        ]

    def symbol(self, role: str, content: str) -> int | None:
        """The symbol of a message, or None for contents with unknown answers."""
        answers = tuple(test.answer(content) for test in self.tests.get(role, ()))
        return self.symbols.get((role, answers))

    def walk(self, symbols: Sequence[int]) -> list[MessageRule] | None:
        """The rules of a chat's messages, or None where the order is not allowed."""
        states = [0]
        for symbol in symbols[:-1]:
            states.append(self.next_state[states[-1]][symbol])
            if states[-1] == DEAD:
                return None
        if not symbols or not self.ends[states[-1]][symbols[-1]]:
            return None
        found, behind = [], 0
        for state, symbol in zip(states[::-1], symbols[::-1], strict=True):
            rule = self.rules.get((state, symbol, behind))
            if rule is None:
                return None
            found.append(rule)
            behind = self.back_state[behind][symbol]
        return found[::-1]

    def write(
        self, roles: Sequence[str], contents: Sequence[str], date: str = ""
    ) -> str | None:
        """The text of a chat, or None where the order or a content is not allowed."""
        symbols = [self.symbol(r, c) for r, c in zip(roles, contents, strict=True)]
        known = [symbol for symbol in symbols if symbol is not None]
        rules = self.walk(known) if len(known) == len(symbols) else None
        if rules is None:
            return None
        pairs = zip(rules, contents, strict=True)
        return "".join(rule.write(own, contents[0], date) for rule, own in pairs)

    def fits(self, state: int, role: str, last: bool) -> bool:
        """Whether some content of a role may come after a state, as the last or not."""
        own = [n for (name, _), n in self.symbols.items() if name == role]
        if last:
            return any(self.ends[state][n] for n in own)
        return any(self.next_state[state][n] != DEAD for n in own)

    def order(self) -> str:
        """Which roles may come first and behind each role, for an error message."""
        roles = self.roles()
        behind = {"first": {0}}
        for row in self.next_state:
            for symbol, state in enumerate(row):
                if state != DEAD:
                    behind.setdefault(f"behind {roles[symbol]}", set()).add(state)
        parts = []
        for place, states in behind.items():
            names = [role for role in ROLES if self._may_come(states, role)]
            parts.append(f"{place} {' or '.join(names)}")
        return ", ".join(parts)

    def used(self) -> list[str]:
        """The roles that a chat may have."""
        states = range(len(self.next_state))
        return [role for role in ROLES if self._may_come(states, role)]

    def _may_come(self, states, role):
        """Whether a role may come after one of some states."""
        return any(self.fits(s, role, last) for s in states for last in (False, True))
