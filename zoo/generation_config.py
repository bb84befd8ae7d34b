"""The knobs of generation, and the defaults of a model: generation_config.json.

A knob's name, dtype, default, range and help stand here once, in the fields of
`GenerationConfig`. Requests, signatures, flags and documents read them from `KNOBS`.
"""

import dataclasses
import math
from typing import Any, NamedTuple

from zoo.fields import from_fields

INT32, INT64 = 2**31 - 1, 2**63 - 1
_TRANSFORMERS_TOP_K = 50  # of a file with `do_sample` and without `top_k`


class Range(NamedTuple):
    """The numbers that a knob takes.

    Attributes:
      low: the least one.
      high: the largest one; infinity allows every finite number.
      above: whether `low` itself is excluded.
    """

    low: float
    high: float
    above: bool = False

    def holds(self, x: Any) -> Any:
        """Whether a number, or each number of a tensor, is in the range."""
        over = x > self.low if self.above else x >= self.low
        return over & (x < self.high if self.high == math.inf else x <= self.high)

    def __str__(self):
        if self.high == INT64:
            return "integers of 64 bits"
        if self.high in (math.inf, INT32):
            return f"above {self.low}" if self.above else f"at least {self.low}"
        if self.above:
            return f"above {self.low} and at most {self.high}"
        return f"{self.low} to {self.high}"


class Knob(NamedTuple):
    """One value of a request.

    Attributes:
      name: as in the signature, the flag and the field of `GenerationConfig`.
      dtype: TensorFlow's name of its type.
      default: its value where neither the request nor the model gives one.
      range: its `Range`; None for `stop`, the only knob of strings.
      help: one line for users.
    """

    name: str
    dtype: str
    default: Any
    range: Any
    help: str

    def about(self) -> str:
        """The help, and the range where there is one."""
        return f"{self.help} Allowed: {self.range}." if self.range else self.help


def _knob(default: Any, dtype: str, range: Range | None, help: str) -> Any:
    """A field of `GenerationConfig` that is a knob."""
    metadata = {"dtype": dtype, "range": range, "help": help}
    return dataclasses.field(default=default, metadata=metadata)


@dataclasses.dataclass(kw_only=True, slots=True)
class GenerationConfig:
    """The value of every knob of generation."""

    max_new_tokens: int = _knob(
        64, "int32", Range(1, INT32), "The most tokens of an answer."
    )
    temperature: float = _knob(
        0.0,
        "float32",
        Range(0, math.inf),
        "Divides the logits; 0 takes the likeliest token.",
    )
    top_k: int = _knob(
        0, "int32", Range(0, INT32), "Samples from the k likeliest tokens; 0 is off."
    )
    top_p: float = _knob(
        1.0,
        "float32",
        Range(0, 1, above=True),
        "Samples from the likeliest tokens that have this probability; 1 is off.",
    )
    min_p: float = _knob(
        0.0,
        "float32",
        Range(0, 1),
        "Drops tokens below this part of the largest probability; 0 is off.",
    )
    repetition_penalty: float = _knob(
        1.0,
        "float32",
        Range(0, math.inf, above=True),
        "Makes tokens of the prompt and the answer less likely; 1 is off.",
    )
    seed: int = _knob(
        0, "int64", Range(-INT64 - 1, INT64), "Equal seeds sample equal answers."
    )
    stop: tuple[str, ...] = _knob(
        (), "string", None, "Strings that end an answer; the answer leaves them out."
    )

    def __post_init__(self):
        if isinstance(self.stop, str):
            self.stop = (self.stop,)
        for knob in NUMBERS:
            value = getattr(self, knob.name)
            if not knob.range.holds(value):
                raise ValueError(f"{knob.name}: {value}, {knob.range} allowed.")
        if "" in self.stop:
            raise ValueError(f"stop: {self.stop}, no empty string allowed.")

    def fitted(self, room: int, vocab_size: int) -> "GenerationConfig":
        """A copy whose numbers a model has room for.

        Args:
          room: the most new tokens.
          vocab_size: the largest top_k.
        """
        return dataclasses.replace(
            self,
            max_new_tokens=min(self.max_new_tokens, room),
            top_k=min(self.top_k, vocab_size),
        )

    def to_json(self, end_id: int | None) -> dict[str, Any]:
        """The fields as transformers reads them: `do_sample` false is temperature 0."""
        value = dataclasses.asdict(self)
        del value["seed"]
        stop = list(value.pop("stop"))
        if stop:
            value["stop_strings"] = stop
        greedy = value.pop("temperature") == 0
        if not greedy:
            value["temperature"] = self.temperature
        return {"do_sample": not greedy, "eos_token_id": end_id, **value}

    @classmethod
    def from_json(cls, value: dict[str, Any], where: str) -> "GenerationConfig":
        """Reads the knobs of a generation_config.json; other fields are ignored.

        As in transformers, `do_sample` is false by default, and samples from the 50
        likeliest tokens if the file has no `top_k`. A `top_k` of null is off.

        Raises:
          ValueError: a field has a wrong type or value; `where` is in the message.
        """
        known = {f.name for f in dataclasses.fields(cls)}
        fields = {k: v for k, v in value.items() if k in known and v is not None}
        stop = value.get("stop_strings") or []
        fields["stop"] = [stop] if isinstance(stop, str) else stop
        if not value.get("do_sample", False):
            fields["temperature"] = 0.0
        else:
            fields.setdefault("temperature", 1.0)
            if "top_k" not in value:
                fields["top_k"] = _TRANSFORMERS_TOP_K
        try:
            return from_fields(cls, fields, "generation")
        except ValueError as error:
            raise ValueError(f"{where}: {error}") from None


def row_seed(seed: int, row: int) -> int:
    """The seed of a row of a batch for which one seed is given.

    Row 0 has the seed itself, and other rows a hash of the seed and the row: SplitMix64
    (Steele et al. 2014). With seed + row, batches of near seeds would share answers.

    Returns:
      An integer of 64 bits, with a sign.
    """
    if row == 0:
        return seed
    mask = 2**64 - 1
    x = (_mixed(seed & mask) + row * 0x9E3779B97F4A7C15) & mask
    x = _mixed(x)
    return x - 2**64 if x > INT64 else x


def _mixed(x: int) -> int:
    """SplitMix64's permutation of the integers of 64 bits."""
    mask = 2**64 - 1
    x = (x ^ x >> 30) * 0xBF58476D1CE4E5B9 & mask
    x = (x ^ x >> 27) * 0x94D049BB133111EB & mask
    return x ^ x >> 31


KNOBS = tuple(
    Knob(field.name, default=field.default, **field.metadata)
    for field in dataclasses.fields(GenerationConfig)
)
NUMBERS = tuple(knob for knob in KNOBS if knob.range)


def _document():
    """Lists the knobs in the docstring, where `help` shows them."""
    lines = [f"  {knob.name}: {knob.about()}" for knob in KNOBS]
    text = "\n    ".join(["Attributes:", *lines])
    GenerationConfig.__doc__ = f"{GenerationConfig.__doc__}\n\n    {text}\n"


_document()
