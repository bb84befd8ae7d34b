"""What can be asked about a content of a chat, and how it can be cut."""

from collections.abc import Iterable
from typing import NamedTuple

# The characters that `str.strip` removes.
SPACES = "".join(c for c in map(chr, range(0x3001)) if c.isspace())
DATE = "date"  # the source of a piece that is the date


class Unsupported(ValueError):
    """A template asks something about a content that cannot be asked in a graph."""


class Op(NamedTuple):
    """One step from a content to what is written or tested.

    Attributes:
      kind: "lstrip", "rstrip", "after_first", "after_last", "before_first",
        "before_last" or "replace".
      text: the characters to strip, the text to cut at, or the text to replace.
      new: the replacement.
    """

    kind: str
    text: str
    new: str = ""

    def apply(self, value: str) -> str:
        """The value after this step; a text that is not found changes nothing."""
        match self.kind:
            case "lstrip":
                return value.lstrip(self.text)
            case "rstrip":
                return value.rstrip(self.text)
            case "after_first":
                return value.split(self.text, 1)[-1]
            case "after_last":
                return value.rsplit(self.text, 1)[-1]
            case "before_first":
                return value.split(self.text, 1)[0]
            case "before_last":
                return value.rsplit(self.text, 1)[0]
        return value.replace(self.text, self.new)


Ops = tuple[Op, ...]


class Test(NamedTuple):
    """A question about one content.

    Attributes:
      ops: the steps that come before the question.
      kind: "contains", "starts", "ends", "equals" or "filled" (is not empty).
      texts: the answer is yes if it is yes for one of these; () for "filled".
    """

    ops: Ops
    kind: str
    texts: tuple[str, ...] = ()

    def answer(self, content: str) -> bool:
        """The answer for a content."""
        value = applied(self.ops, content)
        match self.kind:
            case "filled":
                return value != ""
            case "contains":
                return any(text in value for text in self.texts)
            case "starts":
                return value.startswith(self.texts)
            case "ends":
                return value.endswith(self.texts)
        return value in self.texts

    def __str__(self):
        steps = "".join(f".{op.kind}({op.text!r})" for op in self.ops)
        return (
            f"content{steps} {self.kind} {' or '.join(map(repr, self.texts))}".strip()
        )


class Piece(NamedTuple):
    """A part of a text that comes from a message.

    Attributes:
      source: the number of the message, or `DATE`.
      ops: the steps from its content to the part.
      value: the part.
    """

    source: int | str
    ops: Ops
    value: str

    def after(self, *ops: Op) -> "Piece":
        """The piece after more steps."""
        done = list(self.ops)
        for op in ops:
            # Stripping the same characters again changes nothing.
            strips = "lstrip rstrip".split() if "strip" in op.kind else []
            if strips and op in _last_strips(done):
                continue
            done.append(op)
            if [o.kind for o in done[-2:]] == strips[::-1] and _alike(*done[-2:]):
                done[-2:] = done[:-3:-1]
        return Piece(self.source, tuple(done), applied(ops, self.value))


class Trace:
    """The tests of one rendering, in their order."""

    def __init__(self):
        self.tests: list[tuple[int, Test, bool]] = []

    def ask(self, piece: Piece, kind: str, *texts: str) -> bool:
        """Records a question about a piece and returns the answer."""
        if not isinstance(piece.source, int):
            raise Unsupported("it compares the date")
        ops = piece.ops
        if kind == "filled":
            while len(ops) > 1 and _alike(*ops[-2:]):
                ops = ops[:-1]
            if ops and ops[-1].kind == "rstrip":
                ops = (*ops[:-1], Op("lstrip", ops[-1].text))
        if texts == ("",):
            if kind != "equals":
                return True
            return not self.ask(piece, "filled")
        own = Test((), kind, texts).answer(piece.value)
        self.tests.append((piece.source, Test(ops, kind, texts), own))
        return own


def applied(ops: Iterable[Op], value: str) -> str:
    """The value after some steps."""
    for op in ops:
        value = op.apply(value)
    return value


def _last_strips(ops):
    """The last steps, as far as they strip, with at most one of each end."""
    last = [op for op in ops[-2:] if "strip" in op.kind]
    return last[-1:] if len({op.kind for op in last}) < len(last) else last


def _alike(one, other):
    """Whether two steps strip the same characters."""
    return "strip" in one.kind and "strip" in other.kind and one.text == other.text
