"""Builds the forward and the backward automaton of a chat template.

A word is a chat as a tuple of symbol numbers. Two beginnings are alike if, for each end
of a list of ends, the same rules follow. Two ends are alike if, for each beginning of a
list of beginnings, the same rules come before.
"""

import dataclasses
import itertools

from zoo.text.chat.aimed import Symbol
from zoo.text.chat.probe import Probe, Question
from zoo.text.chat.questions import Test
from zoo.text.chat.state_machine import DEAD, ROLES, ChatMachine, MessageRule, Rule

_MOST_STATES = 12
Word = tuple[int, ...]


class Words:
    """The rules of words, from rendered chats.

    Attributes:
      symbols: of all roles.
      tests: by role, in the order of the answers of a symbol.
      users: the numbers of the user's symbols.
      usual: for each role, the number of the symbol of the content "x".
      stands_for: for each symbol, the one that a machine has in its place.
    """

    def __init__(self, probe: Probe, symbols: list[Symbol]):
        """Takes a probe and the symbols of its tests."""
        self.symbols = symbols
        self.tests = {role: tuple(probe.tests.get(role, ())) for role in ROLES}
        self.users = [n for n, s in enumerate(symbols) if s.role == "user"]
        self.usual = [[s.role for s in symbols].index(role) for role in ROLES]
        self.stands_for = list(range(len(symbols)))
        self._probe = probe
        self._rules: dict[Word, list[Rule] | None] = {}

    @property
    def kept(self) -> list[int]:
        """The symbols of a machine."""
        return sorted(set(self.stands_for))

    def usual_of(self, n: int) -> int:
        """The symbol of the content "x" of the same role."""
        return self.usual[ROLES.index(self.symbols[n].role)]

    def with_answers(self, n: int, answers: frozenset[tuple[Test, bool]]) -> int | None:
        """A symbol of the same role with some answers, or None where none is known."""
        role = self.symbols[n].role
        tests = self.tests[role]
        if not all(test in tests for test, _ in answers):
            return None
        places = [(tests.index(test), answer) for test, answer in answers]
        for number, symbol in enumerate(self.symbols):
            if symbol.role == role and all(symbol.answers[p] == a for p, a in places):
                return number
        return None

    def separate(self, word: Word) -> bool:
        """Lets no symbol stand for those of a word; whether that is new."""
        before = self.stands_for[:]
        for n in word:
            self.stands_for[n] = n
        return self.stands_for != before

    def asked(self, word: Word) -> list[Question]:
        """The questions of a chat, with the answers, in their order."""
        return self._probe.asked(*self.chat(word))

    def rules(self, word: Word) -> list[Rule] | None:
        """How each message is written, or None for a chat that is not allowed."""
        if word not in self._rules:
            self._rules[word] = None
            if word and word[-1] in self.users:
                self._rules[word] = self._probe.rules(*self.chat(word))
        return self._rules[word]

    def chat(self, word: Word) -> tuple[list[str], list[str]]:
        """The roles and example contents of a word."""
        symbols = [self.symbols[number] for number in word]
        return [s.role for s in symbols], [s.content for s in symbols]


class Columns:
    """The beginnings and ends that separate states."""

    def __init__(self, words: Words):
        """Starts with short ones."""
        every, usual, user = words.kept, words.usual, words.usual[1]
        users = [n for n in words.users if n in every]
        pairs = [*itertools.product(every, usual), *itertools.product(usual, every)]
        ends: list[Word] = [(n,) for n in users] + [(n, user) for n in every]
        ends += [(a, n) for a in usual for n in users]
        ends += [(a, b, user) for a, b in itertools.product(usual, repeat=2)]
        self.ends: list[Word] = list(dict.fromkeys(ends))
        beginnings: list[Word] = [(), *((n,) for n in every), *pairs]
        self.beginnings: list[Word] = list(dict.fromkeys(beginnings))

    def separate(self, word: Word) -> bool:
        """Adds the beginnings and ends of a word; whether there were new ones."""
        size = len(self.ends) + len(self.beginnings)
        for place in range(1, len(word)):
            self.ends.append(word[place:])
            self.beginnings.append(word[:place])
        self.ends = list(dict.fromkeys(self.ends))
        self.beginnings = list(dict.fromkeys(self.beginnings))
        return len(self.ends) + len(self.beginnings) > size


@dataclasses.dataclass(frozen=True)
class Table:
    """A machine over words; see `ChatMachine` for the other attributes.

    Attributes:
      column: for each symbol, its place in the rows.
    """

    column: list[int]
    next_state: list[list[int]]
    ends: list[list[bool]]
    back_state: list[list[int]]
    rules_of: dict[tuple[int, int, int], Rule]

    def rules(self, word: Word) -> list[Rule] | None:
        """How each message is written, or None for a word that is not allowed."""
        columns, states = [self.column[n] for n in word], [0]
        for column in columns[:-1]:
            states.append(self.next_state[states[-1]][column])
            if states[-1] == DEAD:
                return None
        if not self.ends[states[-1]][columns[-1]]:
            return None
        found, behind = [], 0
        for state, column in zip(states[::-1], columns[::-1], strict=True):
            found.append(self.rules_of.get((state, column, behind)))
            behind = self.back_state[behind][column]
        return None if None in found else found[::-1]

    def machine(self, words: Words, date_format: str) -> ChatMachine:
        """The machine for contents; symbols that are written alike become one."""
        merged, numbers = {}, []
        for place, n in enumerate(words.kept):
            rows = (*self.next_state, *self.ends, *self.back_state)
            rules = [(k, r) for k, r in self.rules_of.items() if k[1] == place]
            alike = (
                words.symbols[n].role,
                tuple(row[place] for row in rows),
                frozenset((state, behind, rule) for (state, _, behind), rule in rules),
            )
            numbers.append(merged.setdefault(alike, len(merged)))
        kept = [numbers.index(n) for n in range(len(merged))]
        tests, symbols = _needed(words, [numbers[column] for column in self.column])
        return ChatMachine(
            tests=tests,
            symbols=symbols,
            next_state=tuple(tuple(row[n] for n in kept) for row in self.next_state),
            ends=tuple(tuple(row[n] for n in kept) for row in self.ends),
            back_state=tuple(tuple(row[n] for n in kept) for row in self.back_state),
            rules={
                (state, numbers[place], behind): MessageRule(rule)
                for (state, place, behind), rule in self.rules_of.items()
            },
            date_format=date_format,
        )


def build(words: Words, columns: Columns) -> Table:
    """The machine whose states are separated by the columns.

    Raises:
      ValueError: there are too many states.
    """

    def future(word):
        found = (words.rules((*word, *end)) for end in columns.ends)
        return tuple(rules and tuple(rules[len(word) :]) for rules in found)

    def past(word):
        found = ((first, words.rules((*first, *word))) for first in columns.beginnings)
        return tuple(rules and tuple(rules[: len(first)]) for first, rules in found)

    every = words.kept
    access, next_state = _automaton(future, lambda word, n: (*word, n), every)
    # The end itself is a state of its own: what asks for the answer follows it.
    ends, back_state = _automaton(past, lambda word, n: (n, *word), every, words.users)
    rules = {}
    for (state, word), (place, n), (behind, end) in itertools.product(
        enumerate(access), enumerate(every), enumerate(ends)
    ):
        if found := words.rules((*word, n, *end)):
            rules[state, place, behind] = found[len(word)]
    allowed = [[bool(words.rules((*word, n))) for n in every] for word in access]
    column = [every.index(n) for n in words.stands_for]
    return Table(column, next_state, allowed, back_state, rules)


def _automaton(row, longer, every, first=None):
    """A word for each state, and the next state of each state and symbol.

    Args:
      row: from a word to what separates it from others.
      longer: from a word and a symbol to a word.
      every: all symbols.
      first: the symbols that the empty word may get; all, where it is None.
    """
    words: list[Word] = [()]
    rows = [row(()) if first is None else None]
    states = []
    for word in words:  # The loop appends to it.
        states.append([])
        for n in every:
            found = () if first is not None and not word and n not in first else None
            found = row(longer(word, n)) if found is None else found
            if not any(r is not None for r in found):
                states[-1].append(DEAD)
                continue
            if found not in rows:
                if len(words) == _MOST_STATES:
                    raise ValueError(
                        "what it writes depends on the other messages in more than "
                        f"{_MOST_STATES} ways."
                    )
                words.append(longer(word, n))
                rows.append(found)
            states[-1].append(rows.index(found))
    return words, states


def _needed(words, numbers):
    """The tests that separate symbols, by role, and the symbol of each answer."""
    tests, symbols = {}, {}
    for role in ROLES:
        own = [
            (s, n)
            for s, n in zip(words.symbols, numbers, strict=True)
            if s.role == role
        ]
        places = list(range(len(own[0][0].answers)))
        for place in reversed(places[:]):
            fewer = [p for p in places if p != place]
            seen = {}
            if all(seen.setdefault(_at(s.answers, fewer), n) == n for s, n in own):
                places = fewer
        tests[role] = tuple(words.tests[role][p] for p in places)
        symbols |= {(role, _at(s.answers, places)): n for s, n in own}
    return tests, symbols


def _at(values, places):
    return tuple(values[place] for place in places)
