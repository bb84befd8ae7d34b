"""A chat template as a state machine: what text is written around each message.

The machine starts in state 0. Each message has a rule, chosen by the state and the
message's role. The rule names the text before the content, how the content is
stripped, and the next state. Text between two contents belongs to the second message,
because what follows a message often depends on whether another one follows. The last
message is always a user's. Its rule is under `LAST` and also has the text behind the
content, where the model's answer begins.

Example, with `<s>` before the first message and `[/INST]` before an answer:

    state 0: user -> before "<s>[INST]", next state 1
             last -> before "<s>[INST]", after "[/INST]"
    state 1: assistant -> before "[/INST]", next state 2
    state 2: user -> before "</s>[INST]", next state 1
             last -> before "</s>[INST]", after "[/INST]"

user "a", assistant "b", user "c" is written as `<s>[INST]a[/INST]b</s>[INST]c[/INST]`.
`zoo.text.chat.learn` finds the machine of a template; `zoo.text.chat.in_graph` runs it
in a TensorFlow graph.
"""

import dataclasses
from collections.abc import Sequence

ROLES = ("system", "user", "assistant")
LAST = "last"
# The characters that `str.strip` removes.
SPACES = "".join(c for c in map(chr, range(0x3001)) if c.isspace())


@dataclasses.dataclass(frozen=True)
class MessageRule:
    """How one message is written.

    Attributes:
      before: the text between the previous content and this one. It is two texts where
        the system message is moved here and is written between them.
      before_blank: the same for a content of spaces only; None where the template's
        text for such a content has no rule.
      written: whether the content is written here.
      cut: a text such as `</think>`; only what follows its last occurrence in the
        content is written. "" cuts nothing.
      strip_cut: the characters that are stripped at the start after a cut.
      strip_left: the characters that are stripped at the start of the content.
      strip_right: the characters that are stripped at its end.
      after: the text behind the content of the last message.
      next_state: the state after this message.
    """

    before: tuple[str, ...] = ("",)
    before_blank: tuple[str, ...] | None = ("",)
    written: bool = False
    cut: str = ""
    strip_cut: str = ""
    strip_left: str = ""
    strip_right: str = ""
    after: str = ""
    next_state: int = 0

    def stripped(self, content: str) -> str:
        """The content as it is written."""
        if self.cut and self.cut in content:
            content = content.rsplit(self.cut, 1)[1].lstrip(self.strip_cut)
        return content.lstrip(self.strip_left).rstrip(self.strip_right)


@dataclasses.dataclass(frozen=True)
class ChatMachine:
    """The rules of a chat template.

    Attributes:
      rules: a dict for each state, from a role or `LAST` to the rule; a role without a
        rule is not allowed there.
      moves_system: whether a system message, which then comes first, is written with
        the last message.
      forbidden: by role, the texts that no content may have, because the template
        writes contents with them in another way.
    """

    rules: tuple[dict[str, MessageRule], ...]
    moves_system: bool = False
    forbidden: dict[str, tuple[str, ...]] = dataclasses.field(default_factory=dict)

    def walk(self, roles: Sequence[str]) -> list[MessageRule] | None:
        """The rules of a chat's messages, or None where the order is not allowed."""
        if not roles or roles[-1] != "user":
            return None
        found, state = [], 0
        for role in (*roles[:-1], LAST):
            rule = self.rules[state].get(role)
            if rule is None:
                return None
            found.append(rule)
            state = rule.next_state
        return found

    def write(self, roles: Sequence[str], contents: Sequence[str]) -> str | None:
        """The text of a chat, or None where the order or a content is not allowed."""
        rules = self.walk(roles)
        if rules is None:
            return None
        text, first = "", None
        for role, rule, content in zip(roles, rules, contents, strict=True):
            before = rule.before if content.strip() else rule.before_blank
            texts = self.forbidden.get(role, ())
            if before is None or any(text in content for text in texts):
                return None
            if first is None:
                first = rule.stripped(content)
            text += first.join(before)
            text += rule.stripped(content) * rule.written + rule.after
        return text

    def order(self) -> str:
        """Which roles may come first and behind each role, for an error message."""
        behind = {"first": {0}}
        for rules in self.rules:
            for role, rule in rules.items():
                if role != LAST:
                    behind.setdefault(f"behind {role}", set()).add(rule.next_state)
        parts = []
        for place, states in behind.items():
            names = {role for state in states for role in self.rules[state]}
            names = {"user" if role == LAST else role for role in names}
            parts.append(f"{place} {' or '.join(r for r in ROLES if r in names)}")
        return ", ".join(parts)
