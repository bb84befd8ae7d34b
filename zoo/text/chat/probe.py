"""Renders chats with a template and traces what it asks about their contents."""

from collections.abc import Sequence

from zoo.text.chat import rendering, symbolic
from zoo.text.chat.questions import DATE, Piece, Test, Trace, Unsupported
from zoo.text.chat.sandbox import Exhausted, Template
from zoo.text.chat.state_machine import FIRST, OWN, Rule, Slot

DAY = "26 Jul 2024"  # stands for any date
_CHECKED = 128

Question = tuple[int, Test, bool]  # of which message, what, and the answer


class Probe:
    """A template, rendered for chats of given roles and contents.

    Two chats of the same roles for which all tests have the same answers are rendered
    once: the answers decide what a template does. So for each order of roles there is a
    tree of tests, whose leaves are outputs.

    Attributes:
      tests: by role, the tests that were made on such contents, in their order.
      date_format: the format in which the template asked for the date, or "".
      constants: the strings that the template compares with.
      refusal: the last reason of the template to refuse a chat.
    """

    def __init__(self, template: Template, variables: dict, system_anywhere: bool):
        """Takes what `zoo.text.chat.learn.compile_template` takes.

        Args:
          template: compiled.
          variables: of the template.
          system_anywhere: whether a system message may come later than first.
        """
        self.tests: dict[str, list[Test]] = {}
        self.date_format = ""
        self.refusal = ""
        self.constants = template.constants
        self._template = template
        self._variables = variables
        self._system_anywhere = system_anywhere
        self._trees = {}
        self._answers = {}
        self._renderings = 0

    def allows(self, roles: Sequence[str]) -> bool:
        """Whether chats of this order are rendered at all."""
        return self._system_anywhere or "system" not in roles[1:]

    def text(self, roles: Sequence[str], contents: Sequence[str]) -> str | None:
        """The rendered text, or None where the template refuses the chat."""
        return self._rendered(roles, contents, lambda format: DAY)

    def asked(self, roles: Sequence[str], contents: Sequence[str]) -> list[Question]:
        """The questions of a chat, with the answers, in their order."""
        self.rules(roles, contents)
        node, path = self._trees.get(tuple(roles)), []
        while isinstance(node, dict):
            number, test = node["asks"]
            path.append((number, test, self._answer(test, contents[number])))
            node = node[path[-1][-1]]
        return path

    def rules(self, roles: Sequence[str], contents: Sequence[str]) -> list[Rule] | None:
        """How each message of a chat is written, or None for a refused chat.

        Raises:
          ValueError: the order of the output has no form as one rule a message.
          Unsupported: the template asks something that has no `Test`.
        """
        if not self.allows(roles):
            return None
        roles = tuple(roles)
        node, path = self._trees.get(roles), []
        while isinstance(node, dict):
            number, test = node["asks"]
            answer = self._answer(test, contents[number])
            path.append((node, (number, test, answer)))
            node = node.get(answer)
        if node is None:
            asked, output = self._traced(roles, contents)
            if [question for _, question in path] != asked[: len(path)]:
                raise Unsupported("what it does depends on more than the chat")
            node = tree = (output if output is None else _rules(roles, output),)
            for number, test, answer in reversed(asked[len(path) :]):
                tree = {"asks": (number, test), answer: tree}
            if path:
                branch, (_, _, answer) = path[-1]
                branch[answer] = tree
            else:
                self._trees[roles] = tree
        return node[0]

    def _answer(self, test, content):
        """The answer of a test, from a cache."""
        key = (test, content)
        if key not in self._answers:
            self._answers[key] = test.answer(content)
        return self._answers[key]

    def _traced(self, roles, contents):
        """The distinct tests that a rendering makes, and the parts of its output."""
        trace = Trace()

        def day(format):
            if self.date_format not in ("", format):
                raise Unsupported(
                    f"it writes the date as {self.date_format!r} and as {format!r}"
                )
            self.date_format = str(format)
            return symbolic.date(DAY, trace)

        marked = [symbolic.content(i, text, trace) for i, text in enumerate(contents)]
        text = self._rendered(roles, marked, day)
        # A check of the tracing itself; it need not be done for every chat.
        self._renderings += 1
        checked = self._renderings <= _CHECKED or not self._renderings % 8
        if checked and symbolic.plain(text) != self.text(roles, contents):
            raise Unsupported("what it does depends on more than the chat")
        asked = list(dict.fromkeys(trace.tests))
        for number, test, _ in asked:
            own = self.tests.setdefault(roles[number], [])
            if test not in own:
                own.append(test)
        if text is None:
            return asked, None
        return asked, text.parts if isinstance(text, symbolic.Text) else (text,) * bool(
            text
        )

    def _rendered(self, roles, contents, strftime_now):
        """The output, or None where the template refuses the chat."""
        messages = [
            {"role": role, "content": content}
            for role, content in zip(roles, contents, strict=True)
        ]
        variables = {"add_generation_prompt": True, **self._variables}
        try:
            return rendering.render_with(
                self._template, messages, strftime_now=strftime_now, **variables
            )
        except (Exhausted, Unsupported):
            raise
        except ValueError as error:
            self.refusal = str(error)
            return None


def _rules(roles, output):
    """The parts of an output, by message; text belongs to the content behind it."""
    rules: list[list[str | Slot]] = [[] for _ in roles]
    waiting, current = [], -1
    for part in output:
        if not isinstance(part, Piece):
            waiting.append(part)
        elif part.source == DATE:
            waiting.append(Slot(DATE, part.ops))
        elif int(part.source) >= current:
            current = int(part.source)
            rules[current] += [*waiting, Slot(OWN, part.ops)]
            waiting = []
        elif part.source == 0:
            waiting.append(Slot(FIRST, part.ops))
        else:
            raise ValueError(
                f"for the roles {', '.join(roles)} it writes the content of message "
                f"{part.source} behind a later one."
            )
    rules[-1] += waiting
    return [tuple(rule) for rule in rules]
