"""Jinja templates of others, rendered without trust.

A chat template comes with a model from anywhere. Jinja's sandbox keeps it from leaving
through an attribute; what it leaves open is to hang and to eat memory. So here all work
burns fuel, before it is done: each round of a loop, each call, each character that is
joined, compared or copied. The allowance grows with the messages, and what exceeds it
is an error. Filters and methods that a chat has no use for do not exist.

The environment has what transformers gives its templates: `raise_exception`,
`strftime_now`, `tojson` without HTML, break and continue, and `{% generation %}`.
"""

import datetime
import functools
import json
import threading

from jinja2 import meta
from jinja2.exceptions import SecurityError
from jinja2.sandbox import ImmutableSandboxedEnvironment

from zoo.text.chat import jinja

_MOST_SOURCE = 2**18  # characters; the longest known templates have 2**15
_FUEL = 2**24
_FUEL_A_MESSAGE = 2**16
_FUEL_A_CHARACTER = 2**8
_STEP = 2**8
_LONGEST = 2**64  # no integer of a template is larger

# What these make or do may be as large as all that is inside of their arguments.
_DEEP = (
    "capitalize dictsort e escape join lower max min replace safe sort string title "
    "tojson trim unique upper"
).split()
_SHALLOW = (
    "abs count d default first float int items last length list map reject rejectattr "
    "reverse select selectattr"
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
_PLAIN = (bool, int, float, bytes, range, set, frozenset)


class Exhausted(ValueError):
    """A template asks for more work than its messages can need."""


class Template:
    """A chat template.

    Attributes:
      constants: the strings that it compares with, or gives to a filter or method.
      variables: the names that it reads and does not set.
    """

    def __init__(self, source: str):
        """Compiles it.

        Raises:
          ValueError: it is too long, no Jinja, or uses what is not in the sandbox.
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
            self.variables = sorted(meta.find_undeclared_variables(tree))
            tree = jinja.Metered().visit(tree)
            tree.set_environment(self._environment).set_lineno(1)
            self._template = self._environment.from_string(tree)
        except Exception as error:  # Python's own compiler has its say, too.
            raise ValueError(f"chat template: {error}") from None

    def render(self, messages, **variables) -> str:
        """Renders it.

        Raises:
          ValueError: the template refuses (`raise_exception`), fails or asks for too
            much; the message is Jinja's.
        """
        size = len(json.dumps(messages, ensure_ascii=False))
        fuel = _FUEL + _FUEL_A_MESSAGE * len(messages) + _FUEL_A_CHARACTER * size
        with self._lock:
            self._environment.fuel = fuel
            try:
                return self._template.render(messages=messages, **variables)
            except Exhausted:
                raise
            except Exception as error:  # Templates raise whatever Python can.
                raise ValueError(f"chat template: {error}") from None


class _Environment(ImmutableSandboxedEnvironment):
    """The sandbox with a meter."""

    # That these are intercepted keeps them from being computed by the compiler.
    intercepted_binops = frozenset(ImmutableSandboxedEnvironment.default_binop_table)

    def __init__(self):
        super().__init__(
            trim_blocks=True,
            lstrip_blocks=True,
            extensions=["jinja2.ext.loopcontrols", jinja.GenerationTag],
            finalize=self._shown,
        )
        self.fuel = _FUEL
        filters = {**self.filters, "tojson": jinja.to_json}
        self.filters = {name: _refused(name) for name in filters}
        self.filters |= {n: self._metered(filters[n], self.burn_len) for n in _SHALLOW}
        self.filters |= {n: self._metered(filters[n], self.spend) for n in _DEEP}
        for name in ("join", "replace"):
            self.filters[name] = self._growing(name, self.filters[name])
        self.filters[jinja.MADE] = self._shown
        self.filters[jinja.SEEN] = self._seen
        self.tests = {
            name: self._metered(test, self.burn_len)
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

    def burn(self, amount):
        """Takes from the fuel."""
        self.fuel -= amount
        if self.fuel < 0:
            raise Exhausted("chat template: it does more than its messages can need.")

    def tick(self):
        """Pays for a round of a loop."""
        self.burn(_STEP)
        return True

    def burn_len(self, *values):
        """Pays for the length of values."""
        for value in values:
            self.burn(_STEP + (len(value) if hasattr(value, "__len__") else 0))

    def spend(self, *values):
        """Pays for values and all that is inside of them."""
        for value in values:
            self.burn_len(value)
            if isinstance(value, dict):
                self.spend(*value.keys(), *value.values())
            elif isinstance(value, list | tuple | set | frozenset):
                self.spend(*value)

    def concat(self, parts):
        """Joins what a template or a part of it wrote."""
        return "".join(map(self._shown, parts))

    def call_binop(self, context, operator, left, right):
        """Computes `left operator right`."""
        text = [isinstance(side, str | list | tuple) for side in (left, right)]
        if operator == "*" and any(text):
            sequence, times = (left, right) if text[0] else (right, left)
            self.burn(_STEP + len(sequence) * max(0, times))
            self.spend(sequence)
        elif operator == "**" or operator == "%" and text[0]:
            raise SecurityError(f"operator {operator} of {type(left).__name__}")
        else:
            self.spend(left, right)
        result = super().call_binop(context, operator, left, right)
        if isinstance(result, int) and abs(result) > _LONGEST:
            raise SecurityError("an integer of more than 64 bits")
        return result

    def call(self, context, function, /, *args, **kwargs):
        """Calls a function, macro or method."""
        name, owner = (getattr(function, n, None) for n in ("__name__", "__self__"))
        if name in ("format", "format_map"):
            raise SecurityError(f"the method {name}")
        self.spend(*args, *kwargs.values())
        if isinstance(owner, str):
            self.burn_len(owner)
            if name == "replace":
                self.burn(len(owner) * len(args[1]))
        return super().call(context, function, *args, **kwargs)

    def is_safe_attribute(self, obj, attr, value):
        """Whether a template may read an attribute."""
        for kind, names in _METHODS.items():
            if isinstance(obj, kind):
                return attr in names
        plain = isinstance(obj, _PLAIN)
        return not plain and super().is_safe_attribute(obj, attr, value)

    def _shown(self, value):
        self.spend(value)
        return value

    def _seen(self, value):
        self.burn_len(value)
        return value

    def _metered(self, function, pay):
        @functools.wraps(function)  # That keeps Jinja's marks, too.
        def run(*args, **kwargs):
            pay(*args, *kwargs.values())
            return function(*args, **kwargs)

        return run

    def _growing(self, name, function):
        """The filters join and replace, whose result is larger than what they get."""

        @functools.wraps(function)
        def run(context, value, *args, **kwargs):
            if name == "join":
                value = list(value)
                self.spend(value)
            by = [*args, *kwargs.values()][: 2 if name == "replace" else 1]
            size = len(value) if name == "join" else len(str(value))
            self.burn(size * sum(len(str(x)) for x in by))
            return function(context, value, *args, **kwargs)

        return run

    def _range(self, *args):
        numbers = range(*args)
        self.burn(len(numbers))
        return numbers

    def _dict(self, *args, **kwargs):
        return self._shown(dict(*args, **kwargs))


def _refused(name):
    def refuse(*args, **kwargs):
        raise SecurityError(f"the filter {name}")

    return refuse
