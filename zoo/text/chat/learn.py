"""Finds the machine of a chat template by trying it out, and proves it.

No Jinja is read. The template is rendered with marks for contents, and the text between
the marks read off. Two beginnings of a chat lead to the same state if all that may
follow them is written alike: so the machine of `chat_turns` is learned as a regular
language is (Angluin 1987, "Learning Regular Sets from Queries and Counterexamples").
Then it has to write some hundred chats exactly as the template does, and refuse what it
refuses, also such with texts that the template itself mentions. If it does not, the
template is refused, with the first chat that shows why.
"""

import dataclasses
import itertools
import random

from zoo.text.chat.probe import Probe, mark
from zoo.text.chat.sandbox import Exhausted, Template
from zoo.text.chat.state_machine import LAST, ROLES, SPACES, Machine, Turn

_MOST_STATES = 12
_CHATS = 300
_MOST_SHOWN = 300  # characters of what an error shows
_ENDS = [
    (*roles, "user") for n in range(3) for roles in itertools.product(ROLES, repeat=n)
]
_BLANKS = ("", " ", "\n\t ")
_LETTERS = "abcXYZ 019\n.,'\"?!<>|[]{}\\#é你😀\u3000\xa0\t"


def compile_template(template: Template, **variables) -> Machine:
    """The machine that writes chats exactly as a template does.

    Where a template cannot be read with system messages at any place, they may only
    come first.

    Args:
      template: rendered without tools, for the model to answer.
      **variables: that it is rendered with, such as `bos_token`.

    Raises:
      ValueError: it has no such machine; the message says what it does that has none.
    """
    for anywhere in (True, False):
        probe = Probe(template, variables, anywhere)
        try:
            return _verified(probe, _with_texts(probe, _learn(probe)))
        except Exhausted:
            raise
        except ValueError as error:
            reason = str(error)
        if probe.dated:
            names = [name for name in template.variables if "date" in name]
            reason = (
                "it writes the date of the day; give it as a variable of the template: "
                f"{', '.join(names) or 'but there is none for it'}."
            )
            break
    raise ValueError(f"chat template cannot be put in the graph: {reason}")


def _learn(probe):
    """The machine whose states differ in what may follow them."""
    words: list[tuple[str, ...]] = [()]
    futures = [_future(probe, ())]
    turns = []
    for word in words:  # It grows on the way.
        row = {}
        for role in ROLES:
            longer = (*word, role)
            end = next((e for e in _ENDS if probe.trace((*longer, *e))), None)
            if end is None:
                continue
            future = _future(probe, longer)
            if future not in futures:
                if len(words) == _MOST_STATES:
                    raise ValueError(
                        "what it writes depends on the history in more than "
                        f"{_MOST_STATES} ways."
                    )
                words.append(longer)
                futures.append(future)
            turn = _turn(probe, (*longer, *end), len(word))
            row[role] = dataclasses.replace(turn, state=futures.index(future))
        last = (*word, "user")
        if probe.trace(last):
            turn = _turn(probe, last, len(word))
            if not turn.shown:
                raise ValueError("it does not write the last message.")
            row[LAST] = dataclasses.replace(turn, after=probe.trace(last)[1])
        turns.append(row)
    if not turns[0]:
        raise ValueError(f"it refuses every chat ({probe.refusal}).")
    return Machine(tuple(turns), probe.holds)


def _future(probe, word):
    """All that is written behind the contents of some messages."""
    future = []
    for end in _ENDS:
        trace = probe.trace((*word, *end))
        if trace:
            before, after = trace
            size = len(word)
            rest = [(i - size, text) for i, text in before.items() if i >= size]
            trace = (*rest, after)
        future.append(trace)
    return future


def _turn(probe, roles, number):
    """The turn of one message of a chat."""
    texts, _ = probe.trace(roles)
    whole, here = probe.marked(roles), mark(number)
    if here not in whole:
        return Turn()
    before = texts.get(number, ("",))

    def writes(content, text):
        contents = [mark(i) for i in range(len(roles))]
        contents[number] = content
        return probe.text(roles, contents) == text

    def stripped(form):
        def gone(spaces):
            return writes(form(spaces), whole)

        if writes(form(SPACES), whole.replace(here, form(SPACES))):
            return ""
        return SPACES if gone(SPACES) else "".join(filter(gone, SPACES))

    turn = Turn(
        before,
        shown=number in texts,
        left=stripped(lambda spaces: spaces + here),
        right=stripped(lambda spaces: here + spaces),
    )
    # Where the text before is stripped together with a content, it may lose its end.
    for end in (before[-1], before[-1].rstrip(turn.right)):
        form = whole.replace(before[-1] + here, end + here)
        if all(writes(b, form.replace(here, turn.stripped(b))) for b in _BLANKS):
            return dataclasses.replace(turn, blank=(*before[:-1], end))
    return dataclasses.replace(turn, blank=None)


def _with_texts(probe, machine):
    """The machine with what it has to do about the texts that the template looks for.

    A text may cut a content, else it is forbidden.
    """
    for role in ROLES:
        samples = [roles for roles in _samples(machine) if role in roles]
        others = []
        for text in filter(str.strip, probe.constants):
            forms = (text, f"{text}x", f"x{text}", f"x{text}x")
            if not _differ(probe, machine, samples, role, forms):
                others.append(text)
            elif cut := _cut(probe, machine, samples, role, text):
                machine = cut
            else:
                machine = _forbid(machine, role, text)
        for one, other in itertools.product(others, repeat=2):
            if _differ(probe, machine, samples, role, (f"{one}x{other}",)):
                machine = _forbid(machine, role, max(one, other, key=len))
    return machine


def _differ(probe, machine, samples, role, contents):
    """Whether of the messages of a role one with a content is written otherwise."""
    for roles, content in itertools.product(samples, contents):
        chat = [content if r == role else "x" for r in roles]
        written = machine.write(roles, chat)
        if written is not None and written != probe.text(roles, chat):
            return True
    return False


def _cut(probe, machine, samples, role, text):
    """The machine in which a text cuts the contents of a role, or None."""
    ends = ("", "b", "\n\nb\n", " \t\nb", "\n", " ", f"b{text}\nc", f"b{text}")
    contents = [start + text + end for start in ("", "a", "\n") for end in ends]
    for left in ("", "\n", SPACES):
        turns = tuple(
            {
                name: dataclasses.replace(turn, cut=text, cut_left=left)
                if name == role or (name, role) == (LAST, "user")
                else turn
                for name, turn in row.items()
            }
            for row in machine.turns
        )
        found = dataclasses.replace(machine, turns=turns)
        if not _differ(probe, found, samples, role, contents):
            return found
    return None


def _forbid(machine, role, text):
    """The machine that refuses a text in the contents of a role."""
    texts = machine.forbidden.get(role, ())
    if text in texts:
        return machine
    if len(text) < 3 or text.replace(" ", "").isalnum():
        raise ValueError(f"with {text!r} in what {role} says it writes otherwise.")
    return dataclasses.replace(
        machine, forbidden={**machine.forbidden, role: (*texts, text)}
    )


def _samples(machine):
    """Orders of roles that take each turn that four messages can reach."""
    samples, taken = [], set()
    for size in range(4, -1, -1):
        for roles in itertools.product(ROLES, repeat=size):
            turns = {id(turn) for turn in machine.walk((*roles, "user")) or ()}
            if not turns <= taken:
                taken |= turns
                samples.append((*roles, "user"))
    return samples


def _verified(probe, machine):
    """The machine, if it writes some hundred chats as the template does."""
    rng = random.Random(0)
    texts = [text for text in probe.constants if text.strip()]
    for number in range(_CHATS):
        roles = _roles(rng, machine, 33 if number % 50 == 49 else 1 + number % 8)
        contents = [_content(rng, texts) for _ in roles]
        written = None
        if machine.walk(roles):
            written = machine.write(roles, contents)
            if written is None:
                continue
        expected = probe.text(roles, contents) if probe.allows(roles) else None
        if written != expected:
            messages = list(zip(roles, contents, strict=True))
            asked, made, learned = map(_short, (messages, expected, written))
            raise ValueError(
                f"of the chat {asked} it makes {made}, but what it makes of others "
                f"leads to {learned}."
            )
    return machine


def _roles(rng, machine, size):
    """An order of roles, one in two times such that the machine allows it."""
    roles, state = [], 0
    while len(roles) < size - 1 or LAST not in machine.turns[state]:
        role = rng.choice([r for r in machine.turns[state] if r != LAST])
        roles.append(role)
        state = machine.turns[state][role].state
    if roles and rng.random() < 0.5:
        roles[rng.randrange(len(roles))] = rng.choice(ROLES)
    return (*roles, "user")


def _content(rng, texts):
    """A text, now and then blank or with one that the template mentions."""
    kind = rng.random()
    if kind < 0.1:
        return "".join(rng.choices(" \n\t\u3000", k=rng.randint(0, 3)))
    text = "".join(rng.choices(_LETTERS, k=rng.randint(1, 12)))
    if kind < 0.4 and texts:
        text = rng.choice(texts) + text + rng.choice(["", *texts])
    return text * 500 if kind > 0.98 else text


def _short(value):
    text = repr(value)
    return text if len(text) <= _MOST_SHOWN else text[:_MOST_SHOWN] + "..."
