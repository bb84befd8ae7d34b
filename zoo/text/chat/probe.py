"""Renders chats with marks as contents, to see what a template writes around them."""

import re

from zoo.text.chat import rendering
from zoo.text.chat.sandbox import Exhausted, Template

_MARK = re.compile("\ue000([0-9]+)\ue001")


def mark(number):
    """A content that can be found in a rendered text, by the number of its message."""
    return f"\ue000{number}\ue001"


class Probe:
    """A template, rendered for chats of given roles and contents.

    Attributes:
      constants: the strings that the template compares with.
      moves_system: whether a first system message is written behind later messages.
      dated: whether the template has asked for the date.
      refusal: the last reason of the template to refuse a chat.
    """

    def __init__(self, template: Template, variables: dict, system_anywhere: bool):
        """Takes what `zoo.text.chat.learn.compile_template` takes.

        Args:
          template: compiled.
          variables: of the template.
          system_anywhere: whether a system message may come later than first.
        """
        self.constants = template.constants
        self.dated = False
        self.refusal = ""
        self._template = template
        self._variables = {**variables, "strftime_now": self._date}
        self._system_anywhere = system_anywhere
        self._traces = {}
        self.moves_system = any(
            0 in self._marks(("system", *roles, "user"))[1:]
            for roles in (("user", "assistant"), ("user",))
        )

    def allows(self, roles):
        """Whether chats of this order are rendered at all."""
        return self._system_anywhere or "system" not in roles[1:]

    def text(self, roles, contents):
        """The rendered text, or None where the template refuses the chat."""
        messages = [
            {"role": role, "content": content}
            for role, content in zip(roles, contents, strict=True)
        ]
        try:
            return rendering.render_with(
                self._template,
                messages,
                add_generation_prompt=True,
                **self._variables,
            )
        except Exhausted:
            raise
        except ValueError as error:
            self.refusal = str(error)
            return None

    def marked(self, roles):
        """The rendered text with marks as contents, or None."""
        return self.text(roles, [mark(i) for i in range(len(roles))])

    def trace(self, roles):
        """The text before each content that is written, and the text behind the last.

        Returns:
          None where the template refuses the chat; else a dict from the number of a
          message to the texts before its content, and the text at the end.
        """
        if roles not in self._traces:
            self._traces[roles] = self._trace(roles)
        return self._traces[roles]

    def _trace(self, roles):
        """`trace` without the cache."""
        text = self.marked(roles) if self.allows(roles) else None
        if text is None:
            return None
        *parts, end = _MARK.split(text)
        places = list(zip(parts[::2], map(int, parts[1::2]), strict=True))
        before, moved = {}, None
        for number, (literal, index) in enumerate(places):
            moves = self.moves_system and index == 0 and roles[0] == "system"
            if moves and number == len(places) - 2:
                moved = literal
            elif moves or index in before or index < max(before, default=0):
                raise ValueError(
                    f"for the roles {', '.join(roles)} it writes the content of "
                    f"message {index} twice, or behind a later one."
                )
            else:
                before[index] = (literal,)
        if moved is not None:
            before[index] = (moved, *before[index])
        return before, end

    def _marks(self, roles):
        """The numbers of the messages in the order in which they are written."""
        text = self.marked(roles)
        return [int(place) for place in _MARK.findall(text or "")]

    def _date(self, format):
        """The function strftime_now, which only notes that it was called."""
        self.dated = True
        raise ValueError(f"strftime_now({format!r})")
