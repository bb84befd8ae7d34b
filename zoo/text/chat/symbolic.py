"""Contents that record what a chat template asks about them, and what it writes.

A template is rendered with `Text` in the place of each content. A `Text` is a string
that knows which parts come from which message. Each question of the template, such as
`content.startswith("<think>")`, is recorded as a `Test` with its answer. An operation
that cannot be recorded raises `Unsupported`, so no question goes unseen. That is
concolic execution (Godefroid, Klarlund and Sen 2005, "DART").

Example: with the content "a " of message 0, `"<" + content.strip() + ">"` is a `Text`
of the parts `"<"`, `Piece(0, (lstrip, rstrip), "a")` and `">"`.
"""

import operator
from collections.abc import Iterable
from typing import Any

from zoo.text.chat.questions import DATE, SPACES, Op, Piece, Test, Trace, Unsupported

_COMPARES = {
    "eq": operator.eq,
    "ne": operator.ne,
    "gt": operator.gt,
    "gteq": operator.ge,
    "lt": operator.lt,
    "lteq": operator.le,
}


class Text(str):
    """A string with parts from messages.

    Every method of `str` either is written here or raises `Unsupported`.
    """

    parts: tuple[str | Piece, ...]
    trace: Trace

    def __str__(self):
        return self

    def __hash__(self):
        raise Unsupported("it looks a content up in a dict")

    def __add__(self, other):
        return _joined([self, other], self.trace)

    def __radd__(self, other):
        return _joined([other, self], self.trace)

    def __bool__(self):
        if any(isinstance(part, str) for part in self.parts):
            return True
        # The date is never empty.
        pieces = [part for part in self.parts if isinstance(part, Piece)]
        return any(p.source == DATE or self.trace.ask(p, "filled") for p in pieces)

    def __eq__(self, other):
        if not isinstance(other, str):
            return False
        if isinstance(other, Text):
            if self.parts == other.parts:
                return True
            raise Unsupported("it compares the contents of two messages")
        return self.trace.ask(self._piece("=="), "equals", other)

    def __ne__(self, other):
        return not self == other

    def __contains__(self, item):
        if type(item) is not str:
            raise Unsupported("it looks for one content in another")
        if any(isinstance(part, str) and item in part for part in self.parts):
            return True
        return self.trace.ask(self._piece("in"), "contains", item)

    def startswith(self, *args):
        """Records the question, unless the template's own text answers it."""
        return self._at_edge("starts", self.parts[0], args)

    def endswith(self, *args):
        """Records the question, unless the template's own text answers it."""
        return self._at_edge("ends", self.parts[-1], args)

    def strip(self, chars=None):
        """Strips both ends."""
        stripped = self.lstrip(chars)
        return stripped.rstrip(chars)

    def lstrip(self, chars=None):
        """Strips the start; asks whether a piece before other parts is filled."""
        return self._stripped("lstrip", chars, self.parts)

    def rstrip(self, chars=None):
        """Strips the end; asks whether a piece behind other parts is filled."""
        return self._stripped("rstrip", chars, self.parts[::-1])

    def split(self, *args):
        """The parts between a separator; only the first two and the last are known."""
        return Split(self._piece("split"), self.trace, args, "split")

    def rsplit(self, *args):
        """The parts between a separator, found from the end."""
        return Split(self._piece("rsplit"), self.trace, args, "rsplit")

    def replace(self, *args):
        """Replaces all occurrences of a text by another."""
        match args:
            case (old, new) | (old, new, -1 | None) if old and _plain(old, new):
                piece = self._piece("replace").after(Op("replace", old, new))
                return text([piece], self.trace)
        raise Unsupported(f"it calls replace{args!r} on a content")

    def _piece(self, name):
        """The only part, a piece."""
        match self.parts:
            case (Piece() as piece,):
                return piece
        raise Unsupported(f"it uses {name} on a content with other text around it")

    def _at_edge(self, kind, part, args):
        match args:
            case (str() as wanted,):
                texts = (wanted,)
            case (tuple() as texts,):
                pass
            case _:
                texts = ()
        if not texts or not _plain(*texts):
            raise Unsupported(f"it asks whether a content {kind} with {args!r}")
        known = Test((), kind, texts)
        if isinstance(part, str):
            if known.answer(part):
                return True
            if all(len(wanted) <= len(part) for wanted in texts):
                return False
        return self.trace.ask(self._piece(kind), kind, *texts)

    def _stripped(self, kind, chars, parts):
        """The text after a strip; `parts` begin with the part at that end."""
        chars = SPACES if chars is None else chars
        if not _plain(chars):
            raise Unsupported("it strips the characters of one content from another")
        op = Op(kind, "".join(sorted(set(chars))))
        parts, empty = list(parts), []
        while parts:
            part = parts[0]
            if isinstance(part, Piece) and part.source == DATE:
                raise Unsupported("it strips the date")
            parts[0] = op.apply(part) if isinstance(part, str) else part.after(op)
            if len(parts) == 1 or parts[0] and isinstance(parts[0], str):
                break
            if isinstance(parts[0], Piece):
                if self.trace.ask(parts[0], "filled"):
                    break
                # It still says which message the text behind it belongs to.
                empty.append(parts[0])
            del parts[0]
        parts = [*empty, *parts]
        return text(parts if kind == "lstrip" else parts[::-1], self.trace)


class Split:
    """What `split` makes of a content: a list of which not all parts are known."""

    def __init__(self, piece: Piece, trace: Trace, args: tuple, name: str):
        """Takes the arguments of `str.split` or `str.rsplit`, by its name."""
        match args:
            case (str() as text,) | (str() as text, -1):
                most = -1
            case (str() as text, 1):
                most = 1
            case _:
                text, most = "", 0
        overlaps = any(text.startswith(text[i:]) for i in range(1, len(text)))
        if not text or type(text) is not str or overlaps:
            raise Unsupported(f"it calls {name}{args!r} on a content")
        self._piece, self._trace, self._text = piece, trace, text
        self._once = name if most == 1 else ""

    def __getitem__(self, place):
        if place not in (0, 1, -1, -2) or isinstance(place, bool):
            raise Unsupported(f"it takes part {place!r} of a content that it splits")
        if place in (1, -2) and not self._trace.ask(
            self._piece, "contains", self._text
        ):
            raise IndexError(place)
        if self._once:
            side = "first" if self._once == "split" else "last"
            kinds = [("before_" if place in (0, -2) else "after_") + side]
        else:
            kinds = {
                0: ["before_first"],
                1: ["after_first", "before_first"],
                -1: ["after_last"],
                -2: ["before_last", "after_last"],
            }[place]
        ops = (Op(kind, self._text) for kind in kinds)
        return text([self._piece.after(*ops)], self._trace)

    def __iter__(self):
        yield self[0]
        raise Unsupported("it takes all parts of a content that it splits")

    def __reversed__(self):
        yield self[-1]
        raise Unsupported("it takes all parts of a content that it splits")

    def __len__(self):
        raise Unsupported("it counts the parts of a content that it splits")


def _refuse(name):
    """A method of `Text` that cannot be recorded."""

    def refuse(self, *args, **kwargs):
        raise Unsupported(f"it uses {name.strip('_')} on a content")

    return refuse


for _name in set(dir(str)) - set(dir(object)) | {"__repr__", "__format__"}:
    if _name not in vars(Text) and _name != "__getnewargs__":
        setattr(Text, _name, _refuse(_name))
for _name in ("__lt__", "__le__", "__gt__", "__ge__"):
    setattr(Text, _name, _refuse("an order"))


def content(number: int, value: str, trace: Trace) -> str:
    """A message's content, for a template that is traced."""
    return text([Piece(number, (), value)], trace)


def date(value: str, trace: Trace) -> str:
    """The date, for a template that is traced."""
    return text([Piece(DATE, (), value)], trace)


def text(parts: Iterable[str | Piece], trace: Trace) -> str:
    """A string of parts; a plain one where none comes from a message."""
    joined: list[str | Piece] = []
    for part in parts:
        if isinstance(part, str) and joined and isinstance(joined[-1], str):
            joined[-1] += part
        elif part != "":
            joined.append(part)
    whole = "".join(p if isinstance(p, str) else p.value for p in joined)
    if all(isinstance(part, str) for part in joined):
        return whole
    made = str.__new__(Text, whole)
    made.parts, made.trace = tuple(joined), trace
    return made


def join(separator: str, values: Iterable[Any]) -> str:
    """`separator.join` of values, of which some may be `Text`."""
    strings = [str(value) for value in values]
    known = [s for s in (separator, *strings) if isinstance(s, Text)]
    if not known:
        return separator.join(strings)
    between = [part for string in strings for part in (separator, string)][1:]
    return _joined(between, known[0].trace)


def compare(left: Any, name: str, right: Any) -> bool:
    """`left name right`, for a name of a comparison in Jinja's syntax tree."""
    if name in ("in", "notin"):
        return _contains(right, left) == (name == "in")
    return _COMPARES[name](left, right)


def _contains(container, item):
    """`item in container`."""
    if isinstance(item, Text) and isinstance(container, str):
        raise Unsupported("it looks for a content in a text")
    if isinstance(item, Text) and not _holds_text(container):
        # Equal to one of several texts is one question, not several.
        texts = tuple(value for value in container if isinstance(value, str))
        return bool(texts) and item.trace.ask(item._piece("in"), "equals", *texts)
    return item in container


def inside(value: Any) -> bool:
    """Whether a value is a `Text`, or has one at any depth."""
    if isinstance(value, dict):
        return any(map(inside, value.values()))
    return isinstance(value, Text) or _holds_text(value)


def plain(value: Any) -> Any:
    """The value; a `Text` as a string without parts."""
    return str.__str__(value) if isinstance(value, Text) else value


def size(value: Any) -> int:
    """The length of a value, or 0, without a question to a `Text`."""
    if isinstance(value, str):
        return str.__len__(value)
    return len(value) if hasattr(value, "__len__") and type(value) is not Split else 0


def _holds_text(value):
    kinds = list | tuple | set | frozenset
    return isinstance(value, kinds) and any(map(inside, value))


def _joined(strings, trace):
    """The sum of strings, of which some are `Text`."""
    if not all(isinstance(string, str) for string in strings):
        raise TypeError("can only add text to text")
    parts = (s.parts if isinstance(s, Text) else (s,) for s in strings)
    return text([part for group in parts for part in group], trace)


def _plain(*values):
    """Whether all values are strings of the template."""
    return all(type(value) is str for value in values)
