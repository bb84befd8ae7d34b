"""A chat template as plain data: what is written around each message.

A template is read as a machine. It begins in state 0; each message is a turn that
writes some text and its content, and leads to another state. The text between two
contents belongs to the second one, because what follows a message often depends on
whether there is another. The last message, always one of the user, has a turn of its
own, with the text that makes the model answer. `chat_template` finds the machine of a
template, `graph_chat` runs it in a TensorFlow graph.
"""

import dataclasses
from collections.abc import Sequence

ROLES = ("system", "user", "assistant")
LAST = "last"
# What `str.strip` removes.
SPACES = "".join(c for c in map(chr, range(0x3001)) if c.isspace())


@dataclasses.dataclass(frozen=True)
class Turn:
    """What is written for a message.

    Attributes:
      before: the text between the last content and this one; two texts where the
        message that is held back stands between them.
      blank: the same where the content is blank, or None where it must not be.
      shown: whether the content is written here.
      cut: of a content with this text, such as `</think>`, only what is behind the
        last of them is written; "" where nothing is cut.
      cut_left: the characters that are stripped behind it.
      left: the characters that are stripped at the start of the content.
      right: those at its end.
      after: the text behind the content, of the last message.
      state: the next state.
    """

    before: tuple[str, ...] = ("",)
    blank: tuple[str, ...] | None = ("",)
    shown: bool = False
    cut: str = ""
    cut_left: str = ""
    left: str = ""
    right: str = ""
    after: str = ""
    state: int = 0

    def stripped(self, content: str) -> str:
        """The content as it is written."""
        if self.cut and self.cut in content:
            content = content.rsplit(self.cut, 1)[1].lstrip(self.cut_left)
        return content.lstrip(self.left).rstrip(self.right)


@dataclasses.dataclass(frozen=True)
class Machine:
    """A chat template.

    Attributes:
      turns: for each state the turns that are allowed, by role and `LAST`.
      holds: whether a system message, which then comes first, is held back and
        written in the turn of the last message.
      forbidden: for each role the texts that the template treats in a way of its own,
        so that no content may have them.
    """

    turns: tuple[dict[str, Turn], ...]
    holds: bool = False
    forbidden: dict[str, tuple[str, ...]] = dataclasses.field(default_factory=dict)

    def walk(self, roles: Sequence[str]) -> list[Turn] | None:
        """The turns of a chat, or None where its order is not allowed."""
        if not roles or roles[-1] != "user":
            return None
        found, state = [], 0
        for role in (*roles[:-1], LAST):
            turn = self.turns[state].get(role)
            if turn is None:
                return None
            found.append(turn)
            state = turn.state
        return found

    def write(self, roles: Sequence[str], contents: Sequence[str]) -> str | None:
        """The text of a chat, or None where its order or a content is not allowed."""
        turns = self.walk(roles)
        if turns is None:
            return None
        text, held = "", None
        for role, turn, content in zip(roles, turns, contents, strict=True):
            before = turn.before if content.strip() else turn.blank
            texts = self.forbidden.get(role, ())
            if before is None or any(text in content for text in texts):
                return None
            if held is None:
                held = turn.stripped(content)
            text += held.join(before)
            text += turn.stripped(content) * turn.shown + turn.after
        return text

    def order(self) -> str:
        """Which role may stand where, in words."""
        behind = {"first": {0}}
        for turns in self.turns:
            for role, turn in turns.items():
                if role != LAST:
                    behind.setdefault(f"behind {role}", set()).add(turn.state)
        parts = []
        for place, states in behind.items():
            names = {role for state in states for role in self.turns[state]}
            names = {"user" if role == LAST else role for role in names}
            parts.append(f"{place} {' or '.join(r for r in ROLES if r in names)}")
        return ", ".join(parts)
