"""Learns the state machine of a chat template from chats that the template renders.

The template's source is not read. The template is rendered with marks as contents, and
the text between the marks gives the rules. Two beginnings of a chat lead to the same
state if the same text follows them for all endings that are tried. That is how regular
languages are learned (Angluin 1987, "Learning Regular Sets from Queries and
Counterexamples").

Example: `{% for m in messages %}<{{ m.role }}>{{ m.content }}{% endfor %}` is rendered
for (user), (assistant, user) and so on. Every ending is written alike after (), after
(user) and after (assistant), so there is one state. Its rules have `<user>` and
`<assistant>` before the content.

Then 300 random chats are compared: the machine must write what the template writes and
refuse what the template refuses. Some contents have strings of the template itself. The
first difference is the reason to refuse the template.
"""

import dataclasses
import itertools
import random

from zoo.text.chat.probe import Probe, mark
from zoo.text.chat.sandbox import Exhausted, Template
from zoo.text.chat.state_machine import LAST, ROLES, SPACES, ChatMachine, MessageRule

_MOST_STATES = 12
_CHATS = 300
_MOST_SHOWN = 300  # characters of a value in an error
_ENDS = [
    (*roles, "user") for n in range(3) for roles in itertools.product(ROLES, repeat=n)
]
_BLANKS = ("", " ", "\n\t ")
_LETTERS = "abcXYZ 019\n.,'\"?!<>|[]{}\\#é你😀\u3000\xa0\t"


def compile_template(template: Template, **variables) -> ChatMachine:
    """The machine that writes chats as a template does.

    System messages may come anywhere if a machine exists for that; else only first.

    Args:
      template: rendered without tools and with a generation prompt.
      **variables: of the template, such as `bos_token`.

    Raises:
      ValueError: no machine writes what the template writes; the message says why.
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
    """A machine with a state for each way in which chats can go on."""
    words: list[tuple[str, ...]] = [()]
    futures = [_future(probe, ())]
    rules = []
    for word in words:  # The loop appends to it.
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
            rule = _rule(probe, (*longer, *end), len(word))
            row[role] = dataclasses.replace(rule, next_state=futures.index(future))
        last = (*word, "user")
        if probe.trace(last):
            rule = _rule(probe, last, len(word))
            if not rule.written:
                raise ValueError("it does not write the last message.")
            row[LAST] = dataclasses.replace(rule, after=probe.trace(last)[1])
        rules.append(row)
    if not rules[0]:
        raise ValueError(f"it refuses every chat ({probe.refusal}).")
    return ChatMachine(tuple(rules), probe.moves_system)


def _future(probe, word):
    """What is written behind the messages of a word, for each ending."""
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


def _rule(probe, roles, number):
    """The rule of one message of a chat."""
    texts, _ = probe.trace(roles)
    text, here = probe.marked(roles), mark(number)
    if here not in text:
        return MessageRule()
    before = texts.get(number, ("",))

    def writes(content, expected):
        contents = [mark(i) for i in range(len(roles))]
        contents[number] = content
        return probe.text(roles, contents) == expected

    def stripped(with_spaces):
        """The characters that the template strips where `with_spaces` puts them."""

        def strips(spaces):
            return writes(with_spaces(spaces), text)

        kept = text.replace(here, with_spaces(SPACES))
        if writes(with_spaces(SPACES), kept):
            return ""
        return SPACES if strips(SPACES) else "".join(filter(strips, SPACES))

    rule = MessageRule(
        before,
        written=number in texts,
        strip_left=stripped(lambda spaces: spaces + here),
        strip_right=stripped(lambda spaces: here + spaces),
    )
    # The text before may be stripped together with a blank content.
    for end in (before[-1], before[-1].rstrip(rule.strip_right)):
        form = text.replace(before[-1] + here, end + here)
        if all(writes(b, form.replace(here, rule.stripped(b))) for b in _BLANKS):
            return dataclasses.replace(rule, before_blank=(*before[:-1], end))
    return dataclasses.replace(rule, before_blank=None)


def _with_texts(probe, machine):
    """The machine that also follows the template where contents have its strings.

    Either the string cuts the content, or no content may have the string.
    """
    for role in ROLES:
        samples = [roles for roles in _samples(machine) if role in roles]
        harmless = []
        for text in filter(str.strip, probe.constants):
            forms = (text, f"{text}x", f"x{text}", f"x{text}x")
            if not _differ(probe, machine, samples, role, forms):
                harmless.append(text)
            elif cut := _cut(probe, machine, samples, role, text):
                machine = cut
            else:
                machine = _forbid(machine, role, text)
        for one, other in itertools.product(harmless, repeat=2):
            if _differ(probe, machine, samples, role, (f"{one}x{other}",)):
                machine = _forbid(machine, role, max(one, other, key=len))
    return machine


def _differ(probe, machine, samples, role, contents):
    """Whether template and machine differ where one role's contents are replaced."""
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
        rules = tuple(
            {
                name: dataclasses.replace(rule, cut=text, strip_cut=left)
                if name == role or (name, role) == (LAST, "user")
                else rule
                for name, rule in row.items()
            }
            for row in machine.rules
        )
        found = dataclasses.replace(machine, rules=rules)
        if not _differ(probe, found, samples, role, contents):
            return found
    return None


def _forbid(machine, role, text):
    """The machine that refuses a text in the contents of a role."""
    texts = machine.forbidden.get(role, ())
    if text in texts:
        return machine
    if len(text) < 3 or text.replace(" ", "").isalnum():
        raise ValueError(f"it writes a content of {role} with {text!r} in another way.")
    return dataclasses.replace(
        machine, forbidden={**machine.forbidden, role: (*texts, text)}
    )


def _samples(machine):
    """Orders of roles that together use each rule that five messages can reach."""
    samples, taken = [], set()
    for size in range(4, -1, -1):
        for roles in itertools.product(ROLES, repeat=size):
            rules = {id(rule) for rule in machine.walk((*roles, "user")) or ()}
            if not rules <= taken:
                taken |= rules
                samples.append((*roles, "user"))
    return samples


def _verified(probe, machine):
    """The machine, if it writes 300 random chats as the template does."""
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
                f"it writes the chat {asked} as {made}, but the rules of other chats "
                f"give {learned}."
            )
    return machine


def _roles(rng, machine, size):
    """A random order of roles; about half of the orders are allowed."""
    roles, state = [], 0
    while len(roles) < size - 1 or LAST not in machine.rules[state]:
        role = rng.choice([r for r in machine.rules[state] if r != LAST])
        roles.append(role)
        state = machine.rules[state][role].next_state
    if roles and rng.random() < 0.5:
        roles[rng.randrange(len(roles))] = rng.choice(ROLES)
    return (*roles, "user")


def _content(rng, texts):
    """A random text: plain, of spaces only, or with strings of the template."""
    kind = rng.random()
    if kind < 0.1:
        return "".join(rng.choices(" \n\t\u3000", k=rng.randint(0, 3)))
    text = "".join(rng.choices(_LETTERS, k=rng.randint(1, 12)))
    if kind < 0.4 and texts:
        text = rng.choice(texts) + text + rng.choice(["", *texts])
    return text * 500 if kind > 0.98 else text


def _short(value):
    """A value as text, cut to a length that fits into an error."""
    text = repr(value)
    return text if len(text) <= _MOST_SHOWN else text[:_MOST_SHOWN] + "..."
