"""Compares a chat template and its machine, on chats that are aimed at the tests."""

import random

from zoo.text.chat import explore
from zoo.text.chat.bimachine import Table, Word, Words
from zoo.text.chat.probe import DAY, Probe
from zoo.text.chat.state_machine import ROLES, ChatMachine

_CHATS = 300
_MOST_SHOWN = 300  # characters of a value in an error
_LETTERS = "abcXYZ 019\n.,'\"?!<>|[]{}\\#é你😀\u3000\xa0\t"


def difference(
    words: Words, table: Table, numbers: list[int], rng: random.Random
) -> Word | None:
    """A chat whose rules are not those of the machine, or None; see `explore.chats`."""
    for word in explore.chats(words, table, numbers, rng):
        if words.rules(word) != table.rules(word):
            return word
    return None


def compare(probe: Probe, machine: ChatMachine, rng: random.Random) -> None:
    """Compares the texts of chats with random contents.

    Raises:
      ValueError: the machine writes a chat in another way; the message shows both.
    """
    texts = {t for tests in probe.tests.values() for test in tests for t in test.texts}
    texts = sorted(texts.union(probe.constants) - {""})
    for number in range(_CHATS):
        roles = [rng.choice(ROLES) for _ in range(number % 6)]
        if number % 2:
            roles = ["system", *["user", "assistant"] * (number % 5)][number % 3 > 0 :]
        roles.append("user")
        contents = [_content(rng, texts) for _ in roles]
        pairs = zip(roles, contents, strict=True)
        if None in [machine.symbol(*pair) for pair in pairs]:
            continue
        probe.rules(roles, contents)
        expected = probe.text(roles, contents) if probe.allows(roles) else None
        written = machine.write(roles, contents, DAY)
        if written != expected:
            raise ValueError(_shown(roles, contents, expected, written))


def shown(words: Words, table: Table, word: Word) -> str:
    """The reason to refuse a template for a chat whose rules differ."""
    roles, contents = words.chat(word)
    reason = _shown(roles, contents, words.rules(word), table.rules(word))
    tests = [
        f"{role}'s {test}"
        for role, content in dict.fromkeys(zip(roles, contents, strict=True))
        for test in words.tests[role]
        if test.answer(content)
    ]
    return f"{reason} Its tests: {', '.join(tests)}." if tests else reason


def _content(rng, texts):
    """A random text: plain, of spaces only, or with strings of the template."""
    kind = rng.random()
    if kind < 0.1:
        return "".join(rng.choices(" \n\t\u3000", k=rng.randint(0, 3)))
    text = "".join(rng.choices(_LETTERS, k=rng.randint(1, 12)))
    if kind < 0.5 and texts:
        text = rng.choice(["", text]) + rng.choice(texts)
        text += rng.choice(["", "\n", "a"]) + rng.choice(["", *texts])
    return text * 500 if kind > 0.98 else text


def _shown(roles, contents, expected, written):
    messages = list(zip(roles, contents, strict=True))
    asked, made, learned = map(_short, (messages, expected, written))
    return (
        f"it writes the chat {asked} as {made}, but the rules of other chats give "
        f"{learned}."
    )


def _short(value):
    """A value as text, cut to a length that fits into an error."""
    text = repr(value)
    return text if len(text) <= _MOST_SHOWN else text[:_MOST_SHOWN] + "..."
