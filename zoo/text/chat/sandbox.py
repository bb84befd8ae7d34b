"""Renders Jinja templates that nobody has checked.

A chat template comes with a model from anywhere. Jinja's sandbox stops a template from
reaching Python's internals. It does not stop endless loops and huge strings. So each
rendering gets a budget, and each piece of work is paid before it is done: a round of a
loop, a call, a character that is joined, compared or copied. The budget grows with the
messages. A template that spends more is an error. Filters and methods that no chat
template needs are refused.

Example: messages of 100 characters in all and one message give a budget of
2**24 + 2**16 + 100 * 2**8 = 16,868,352. `{% for i in range(9999) %}` pays 9,999 for the
numbers and 256 a round, 2.6 million in all. The same loop inside of it would pay that
9,999 times: the 7th round of the outer loop ends with `Exhausted`.

The environment has what transformers gives its templates: `raise_exception`,
`strftime_now`, `tojson` without HTML, break and continue, and `{% generation %}`.
"""

import datetime
import functools
import json
import threading
from collections.abc import Callable
from typing import Any

from jinja2 import meta
from jinja2.exceptions import SecurityError
from jinja2.sandbox import ImmutableSandboxedEnvironment

from zoo.text.chat import jinja, symbolic
from zoo.text.chat.questions import Unsupported

_MOST_SOURCE = 2**18  # characters; the longest known templates have 2**15
_BUDGET = 2**24
_BUDGET_PER_MESSAGE = 2**16
_BUDGET_PER_CHARACTER = 2**8
_STEP_PRICE = 2**8  # the price of a call or a round of a loop
_LARGEST = 2**64  # the largest integer that a template may compute

# Filters whose work may grow with everything inside of their arguments.
_DEEP_FILTERS = (
    "capitalize dictsort e escape join lower max min replace safe sort string title "
    "tojson trim unique upper"
).split()
# Filters whose work grows with the length of their arguments.
_FLAT_FILTERS = (
    "abs count d default first float int items last length list map reject rejectattr "
    "reverse select selectattr"
).split()
# Tests whose answer does not depend on the text of a string.
_TYPE_TESTS = (
    "boolean callable defined false float integer iterable mapping none number "
    "sequence string true undefined"
).split()
# Filters and tests that only use what `symbolic.Text` has.
_TRACED = (
    "!= == count d default eq equalto first items last length list map ne reject "
    "rejectattr replace reverse select selectattr string trim"
).split()
_METHODS = {
    str: (
        "capitalize count endswith find index isalnum isalpha isdigit islower isspace "
        "isupper lower lstrip removeprefix removesuffix replace rfind rsplit rstrip "
        "split splitlines startswith strip title upper"
    ).split(),
    dict: "get items keys values".split(),
    list: "count index".split(),
    tuple: "count index".split(),
}
# Types of which a template may read no attribute.
_WITHOUT_ATTRIBUTES = (bool, int, float, bytes, range, set, frozenset)


class Exhausted(ValueError):
    """A template asks for more work than its messages can need."""


class Template:
    """A chat template.

    Attributes:
      constants: the strings that the template compares with, or gives to a filter or a
        method.
      numbers: the integers in the template.
      variables: the names that the template reads and does not set.
    """

    def __init__(self, source: str):
        """Compiles a template.

        Args:
          source: Jinja, at most 2**18 characters.

        Raises:
          ValueError: the source is too long or not valid Jinja.
        """
        if len(source) > _MOST_SOURCE:
            raise ValueError(
                f"chat template: {len(source)} characters, at most {_MOST_SOURCE}"
                " allowed."
            )
        self._environment = _Environment()
        self._lock = threading.Lock()
        try:
            tree = self._environment.parse(source)
            self.constants = jinja.constants(tree)
            self.numbers = jinja.numbers(tree)
            self.variables = sorted(meta.find_undeclared_variables(tree))
            tree = jinja.Metered().visit(tree)
            tree.set_environment(self._environment).set_lineno(1)
            self._template = self._environment.from_string(tree)
        except Exception as error:  # Python's own compiler raises, too.
            raise ValueError(f"chat template: {error}") from None

    def render(self, messages, **variables) -> str:
        """Renders the template.

        Args:
          messages: a list of dicts, with text as values.
          **variables: by name, as the template reads them.

        Raises:
          Exhausted: the template spends more than its budget.
          ValueError: the template calls `raise_exception` or fails; the message is
            Jinja's.
        """
        size = len(json.dumps(messages, ensure_ascii=False))
        budget = (
            _BUDGET + _BUDGET_PER_MESSAGE * len(messages) + _BUDGET_PER_CHARACTER * size
        )
        with self._lock:
            self._environment.budget = budget
            try:
                return self._template.render(messages=messages, **variables)
            except (Exhausted, Unsupported):
                raise
            except Exception as error:  # Templates raise whatever Python can.
                raise ValueError(f"chat template: {error}") from None


class _Environment(ImmutableSandboxedEnvironment):
    """Jinja's sandbox, in which all work is paid from a budget."""

    # Jinja computes constant expressions while compiling, except intercepted ones.
    intercepted_binops = frozenset(ImmutableSandboxedEnvironment.default_binop_table)

    def __init__(self):
        super().__init__(
            trim_blocks=True,
            lstrip_blocks=True,
            extensions=["jinja2.ext.loopcontrols", jinja.GenerationTag],
            finalize=self._charge_deep,
        )
        self.budget = _BUDGET
        filters = {**self.filters, "tojson": jinja.to_json}
        self.filters: dict[str, Callable[..., Any]] = {
            name: _refused(name) for name in filters
        }
        self.filters |= {
            n: self._metered(n, filters[n], self.spend_length) for n in _FLAT_FILTERS
        }
        self.filters |= {
            n: self._metered(n, filters[n], self.spend_deep) for n in _DEEP_FILTERS
        }
        for name in ("join", "replace"):
            self.filters[name] = self._growing(name, self.filters[name])
        self.filters[jinja.CHARGE_DEEP] = self._charge_deep
        self.filters[jinja.CHARGE_LENGTH] = self._charge_length
        self.filters[jinja.COMPARE] = self._compare
        self.tests = {
            name: self._metered(name, test, self.spend_length)
            for name, test in self.tests.items()
        }
        self.globals.clear()
        self.globals.update(
            range=self._range,
            dict=self._dict,
            namespace=jinja.Namespace,
            raise_exception=jinja.raise_exception,
            strftime_now=lambda format: datetime.datetime.now().strftime(format),
        )

    def spend(self, amount):
        """Takes an amount from the budget."""
        self.budget -= amount
        if self.budget < 0:
            raise Exhausted("chat template: it does more than its messages can need.")

    def pay_round(self):
        """Pays for a round of a loop."""
        self.spend(_STEP_PRICE)
        return True

    def spend_length(self, *values):
        """Pays for the lengths of values."""
        for value in values:
            self.spend(_STEP_PRICE + symbolic.size(value))

    def spend_deep(self, *values):
        """Pays for values and for everything inside of them."""
        for value in values:
            self.spend_length(value)
            if isinstance(value, dict):
                self.spend_deep(*value.keys(), *value.values())
            elif isinstance(value, list | tuple | set | frozenset):
                self.spend_deep(*value)

    def concat(self, parts):
        """Joins the parts of an output."""
        return symbolic.join("", map(self._charge_deep, parts))

    def call_binop(self, context, operator, left, right):
        """Computes `left operator right`."""
        text = [isinstance(side, str | list | tuple) for side in (left, right)]
        if operator == "*" and any(text):
            sequence, times = (left, right) if text[0] else (right, left)
            self.spend(_STEP_PRICE + symbolic.size(sequence) * max(0, times))
            self.spend_deep(sequence)
        elif operator == "**" or operator == "%" and text[0]:
            raise SecurityError(f"operator {operator} of {type(left).__name__}")
        else:
            self.spend_deep(left, right)
        result = super().call_binop(context, operator, left, right)
        if isinstance(result, int) and abs(result) > _LARGEST:
            raise SecurityError("an integer of more than 64 bits")
        return result

    def call(self, context, function, /, *args, **kwargs):
        """Calls a function, macro or method."""
        name, owner = (getattr(function, n, None) for n in ("__name__", "__self__"))
        if name in ("format", "format_map"):
            raise SecurityError(f"the method {name}")
        self.spend_deep(*args, *kwargs.values())
        if isinstance(owner, str):
            self.spend_length(owner)
            if type(owner) is str and any(map(symbolic.inside, args)):
                raise Unsupported(f"it gives a content to {name}")
            if name == "replace":
                self.spend(symbolic.size(owner) * symbolic.size(args[1]))
        return super().call(context, function, *args, **kwargs)

    def is_safe_attribute(self, obj, attr, value):
        """Whether a template may read an attribute."""
        for kind, names in _METHODS.items():
            if isinstance(obj, kind):
                return attr in names
        plain = isinstance(obj, _WITHOUT_ATTRIBUTES)
        return not plain and super().is_safe_attribute(obj, attr, value)

    def _charge_deep(self, value):
        """The value itself, after paying for everything inside of it."""
        self.spend_deep(value)
        return value

    def _compare(self, left, name, right):
        """`left name right`, after paying for both lengths."""
        self.spend_length(left, right)
        return symbolic.compare(left, name, right)

    def _charge_length(self, value):
        """The value itself, after paying for its length."""
        self.spend_length(value)
        return value

    def _metered(self, name, function, pay):
        """A filter or test that first pays for its arguments."""

        @functools.wraps(function)  # Also copies the attributes that Jinja reads.
        def run(*args, **kwargs):
            pay(*args, *kwargs.values())
            if name in _TYPE_TESTS:
                return function(*map(symbolic.plain, args))
            if name not in _TRACED and any(map(symbolic.inside, args)):
                raise Unsupported(f"it uses {name} on a content")
            return function(*args, **kwargs)

        return run

    def _growing(self, name, function):
        """The filters join and replace, whose results are larger than their inputs."""

        @functools.wraps(function)
        def run(context, value, *args, **kwargs):
            if name == "join":
                value = list(value)
                self.spend_deep(value)
            added = [*args, *kwargs.values()][: 2 if name == "replace" else 1]
            size = symbolic.size(value if name == "join" else str(value))
            self.spend(size * sum(symbolic.size(str(x)) for x in added))
            if name == "join" and symbolic.inside(value):
                if len(args) > 1 or kwargs:
                    raise Unsupported("it uses join with an attribute")
                return symbolic.join(str(*args), value)
            return function(context, value, *args, **kwargs)

        return run

    def _range(self, *args):
        """The function range; it pays for each number."""
        numbers = range(*args)
        self.spend(len(numbers))
        return numbers

    def _dict(self, *args, **kwargs):
        """The function dict; it pays for everything inside."""
        return self._charge_deep(dict(*args, **kwargs))


def _refused(name):
    """A filter that always fails with its name."""

    def refuse(*args, **kwargs):
        raise SecurityError(f"the filter {name}")

    return refuse
