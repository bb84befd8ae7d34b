"""Asks a chat template how it writes chats, with marks in the place of contents."""

import re

from zoo.text.chat import rendering
from zoo.text.chat.sandbox import Exhausted, Template

_MARK = re.compile("\ue000([0-9]+)\ue001")


def mark(number):
    """A content that is found again in what a template writes."""
    return f"\ue000{number}\ue001"


class Probe:
    """A template that is asked how it writes chats.

    Attributes:
      constants: texts that the template compares with.
      holds: whether it writes a system message behind some that follow it.
      dated: whether it has asked for the date.
      refusal: its last reason to refuse a chat.
    """

    def __init__(self, template: Template, variables: dict, system_anywhere: bool):
        """See `chat_template.compile_template`."""
        self.constants = template.constants
        self.dated = False
        self.refusal = ""
        self._template = template
        self._variables = {**variables, "strftime_now": self._date}
        self._system_anywhere = system_anywhere
        self._traces = {}
        self.holds = any(
            0 in self._marks(("system", *roles, "user"))[1:]
            for roles in (("user", "assistant"), ("user",))
        )

    def allows(self, roles):
        """Whether the template is asked at all for such an order."""
        return self._system_anywhere or "system" not in roles[1:]

    def text(self, roles, contents):
        """What the template writes, or None where it refuses."""
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
        """What the template writes, with marks for the contents, or None."""
        return self.text(roles, [mark(i) for i in range(len(roles))])

    def trace(self, roles):
        """The texts before each content that is shown, and the one behind the last.

        Returns:
          None where the template refuses, else a dict from the number of a message to
          its texts, and the text at the end.
        """
        if roles not in self._traces:
            self._traces[roles] = self._trace(roles)
        return self._traces[roles]

    def _trace(self, roles):
        text = self.marked(roles) if self.allows(roles) else None
        if text is None:
            return None
        *parts, end = _MARK.split(text)
        places = list(zip(parts[::2], map(int, parts[1::2]), strict=True))
        before, held = {}, None
        for number, (literal, index) in enumerate(places):
            hold = self.holds and index == 0 and roles[0] == "system"
            if hold and number == len(places) - 2:
                held = literal
            elif hold or index in before or index < max(before, default=0):
                raise ValueError(
                    f"of {', '.join(roles)} it writes the content of message {index} "
                    "twice, or behind one that follows it."
                )
            else:
                before[index] = (literal,)
        if held is not None:
            before[index] = (held, *before[index])
        return before, end

    def _marks(self, roles):
        text = self.marked(roles)
        return [int(place) for place in _MARK.findall(text or "")]

    def _date(self, format):
        self.dated = True
        raise ValueError(f"strftime_now({format!r})")
