"""Learns the state machine of a chat template from chats that the template renders.

1. The template is rendered with contents that record each question about them
   (`zoo.text.chat.symbolic`). The answers sort the contents of a role into symbols.
2. Beginnings of chats that go on alike share a forward state. Ends of chats before
   which the same is written share a backward state. That is how regular languages are
   learned (Angluin 1987, "Learning Regular Sets from Queries and Counterexamples").
3. Chats are compared, of which many are aimed at the tests. A difference is a
   counterexample: its beginnings and ends separate more states, and step 2 is repeated.

Example: `{% for m in messages %}<{{ m.role }}>{{ m.content }}{% endfor %}` asks
nothing, so each role is one symbol. All chats go on alike after (), (user) and
(assistant), so there is one forward state. Backward states are the end and all else.

What is proved: no question about a content goes unseen, and all pairs of answers are
compared in chats of up to three messages. What is not proved: longer chats are compared
as samples, by `zoo.text.chat.explore`. A template that asks what `Test` cannot express,
or that still differs after the last round, is refused.
"""

import itertools
import random

from zoo.text.chat import aimed, explore, verify
from zoo.text.chat.bimachine import Columns, Words, build
from zoo.text.chat.probe import Probe
from zoo.text.chat.sandbox import Exhausted, Template
from zoo.text.chat.state_machine import OWN, ROLES, ChatMachine, Slot

_MOST_SYMBOLS = 64
_ROUNDS = 24


def compile_template(template: Template, **variables) -> ChatMachine:
    """The machine that writes chats as a template does.

    System messages may come anywhere if a machine exists for that; else only first.

    Args:
      template: rendered without tools and with a generation prompt.
      **variables: of the template, such as `bos_token`. The date of a template that
        asks for it is left open, unless it is given here.

    Raises:
      ValueError: no machine writes what the template writes; the message says why.
    """
    reason = ""
    for anywhere in (True, False):
        try:
            return _compiled(Probe(template, variables, anywhere), template)
        except Exhausted:
            raise
        except ValueError as error:
            reason = str(error)
    raise ValueError(f"chat template cannot be put in the graph: {reason}")


def _compiled(probe, template):
    """The machine of a template for one choice of where system messages may come."""
    for roles in _orders(3):
        probe.rules(roles, ["x"] * len(roles))
    for _ in range(_ROUNDS):
        symbols = [
            s for role in ROLES for s in aimed.symbols(role, probe.tests.get(role, []))
        ]
        if len(symbols) > _MOST_SYMBOLS:
            raise ValueError(_too_many(probe, symbols))
        count = _tests(probe)
        words = Words(probe, symbols)
        for word in explore.pairs(words):
            words.rules(word)
            if _tests(probe) > count:
                break
        else:
            machine = _learned(probe, words, template, count)
            if machine:
                return machine
    raise ValueError("it asks new questions in every longer chat.")


def _learned(probe, words, template, count):
    """The machine, or None where the template asks a new question."""
    alone = [rules[0] for user in words.users if (rules := words.rules((user,)))]
    if alone and not any(_writes(rule) for rule in alone):
        raise ValueError("it does not write the last message.")
    explore.merge(words)
    columns = Columns(words)
    for _ in range(_ROUNDS):
        table = build(words, columns)
        if not any(itertools.chain(*table.ends)):
            raise ValueError(f"it refuses every chat ({probe.refusal}).")
        rng = random.Random(0)
        different = verify.difference(words, table, template.numbers, rng)
        if _tests(probe) > count:
            return None
        if different is None:
            machine = table.machine(words, probe.date_format)
            verify.compare(probe, machine, rng)
            return machine if _tests(probe) == count else None
        if not (words.separate(different) | columns.separate(different)):
            break
    raise ValueError(verify.shown(words, table, different))


def _writes(rule):
    """Whether a rule writes the content of its message."""
    return any(isinstance(part, Slot) and part.source == OWN for part in rule)


def _orders(most):
    """All orders of up to so many roles, of which the last is user."""
    for size in range(most):
        for roles in itertools.product(ROLES, repeat=size):
            yield (*roles, "user")


def _tests(probe):
    """How many tests are known."""
    return sum(map(len, probe.tests.values()))


def _too_many(probe, symbols):
    """The reason to refuse a template with too many symbols."""
    role = max(ROLES, key=lambda role: len(probe.tests.get(role, [])))
    test = probe.tests[role][-1]
    return (
        f"its tests, such as {test} for {role}, sort contents into "
        f"{len(symbols)} kinds, at most {_MOST_SYMBOLS} allowed."
    )
