"""The knobs of generation, and the defaults of a model: generation_config.json.

A knob's name, dtype, default, range and help stand here once, in the fields of
`GenerationConfig`. Requests, signatures, flags and documents read them from `KNOBS`.
Those of beam search stand in `SEARCH`, and have the tensors [B] of all numbers. That of
`DRAFTS` changes no answer.
"""

import dataclasses
import functools
import math
from typing import Any

from zoo.fields import from_fields
from zoo.knobs import INT32, INT64, Knob, Range

_TRANSFORMERS_TOP_K = 50  # of a file with `do_sample` and without `top_k`
MOST_BEAMS = 64  # the memory of a search grows with its beams
MOST_DRAFTS = 64  # a pass of more tokens is no faster for each
# the values of `early_stopping` in a generation_config.json, by their number here
_EARLY_STOPPING = (False, True, "never")
# field here -> name in a generation_config.json, of what is left out at its default
_TRANSFORMERS_NAMES = {"beams": "num_beams", "no_repeat_ngram": "no_repeat_ngram_size"}
_TRANSFORMERS_NAMES |= {
    name: name
    for name in """
    length_penalty early_stopping num_return_sequences min_length min_new_tokens
    forced_bos_token_id forced_eos_token_id bad_words_ids prompt_lookup_num_tokens
    """.split()
}


def _field(kind: str, default: Any, dtype: str, range: Range | None, help: str) -> Any:
    """A field of `GenerationConfig` in a table of a kind."""
    metadata = {"dtype": dtype, "range": range, "help": help}
    return dataclasses.field(default=default, metadata={kind: metadata})


_knob = functools.partial(_field, "knob")
_search = functools.partial(_field, "search")
_length = functools.partial(_field, "length")
_draft = functools.partial(_field, "draft")


@dataclasses.dataclass(kw_only=True, slots=True)
class GenerationConfig:
    """The value of every knob of generation, and the rules of a model directory.

    Attributes:
      forced_bos_token_id: the token after a start token; -1 is none.
      forced_eos_token_id: the last token of an answer of max_new_tokens; several are
        alternatives, and there may be none.
      bad_words_ids: sequences of tokens that no answer has.
    """

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
    beams: int = _search(
        1,
        "int32",
        Range(1, MOST_BEAMS),
        "Continues so many texts, and keeps the likeliest; 1 is no search.",
    )
    length_penalty: float = _search(
        1.0,
        "float32",
        Range(-math.inf, math.inf, above=True),
        "A beam's score is its log-probability / length ** length_penalty.",
    )
    early_stopping: int = _search(
        0,
        "int32",
        Range(0, 2),
        "Ends a search: 0 when its best beam is worse than all answers, "
        "1 when it has as many answers as beams, 2 when no beam can become better.",
    )
    num_return_sequences: int = _search(
        1, "int32", Range(1, MOST_BEAMS), "The answers of a search; at most `beams`."
    )
    no_repeat_ngram: int = _search(
        0, "int32", Range(0, INT32), "No n-gram of this size twice; 0 is off."
    )
    min_length: int = _length(
        0, "int32", Range(0, INT32), "Tokens of prompt and answer before an end token."
    )
    min_new_tokens: int = _length(
        0, "int32", Range(0, INT32), "Tokens of an answer before an end token."
    )
    prompt_lookup_num_tokens: int = _draft(
        0,
        "int32",
        Range(0, MOST_DRAFTS),
        "Guesses up to so many tokens from what stood behind the latest ones before, "
        "and checks them in one pass: the same answer, faster where that of one prompt "
        "repeats its text; 0 is off.",
    )
    forced_bos_token_id: int = -1
    forced_eos_token_id: tuple[int, ...] = ()
    bad_words_ids: tuple[tuple[int, ...], ...] = ()

    def __post_init__(self):
        if isinstance(self.stop, str):
            self.stop = (self.stop,)
        if self.early_stopping in _EARLY_STOPPING:
            self.early_stopping = _EARLY_STOPPING.index(self.early_stopping)
        if any(not word or min(word) < 0 for word in self.bad_words_ids):
            raise ValueError(
                f"bad_words_ids: {self.bad_words_ids}, sequences of at least one id "
                "from 0 on allowed."
            )
        for knob in NUMBERS + SEARCH + _LENGTHS + DRAFTS:
            value = getattr(self, knob.name)
            if not knob.range.holds(value):
                raise ValueError(f"{knob.name}: {value}, {knob.range} allowed.")
        if "" in self.stop:
            raise ValueError(f"stop: {self.stop}, no empty string allowed.")
        if self.beams > 1 and self.temperature > 0:
            raise ValueError(
                f"beams: {self.beams}, but temperature {self.temperature}; 1 allowed, "
                "or temperature 0."
            )
        if self.beams > 1 and self.prompt_lookup_num_tokens:
            raise ValueError(
                f"prompt_lookup_num_tokens: {self.prompt_lookup_num_tokens}, but beams "
                f"{self.beams}; 0 allowed, or 1 beam."
            )
        if self.num_return_sequences > self.beams:
            raise ValueError(
                f"num_return_sequences: {self.num_return_sequences}, at most the "
                f"{self.beams} of beams allowed."
            )

    def fitted(
        self, room: int, vocab_size: int, beams: int = MOST_BEAMS
    ) -> "GenerationConfig":
        """A copy whose numbers a model has room for.

        Args:
          room, vocab_size, beams: the largest max_new_tokens, top_k and beams.
        """
        return dataclasses.replace(
            self,
            max_new_tokens=min(self.max_new_tokens, room),
            top_k=min(self.top_k, vocab_size),
            beams=min(self.beams, beams),
            num_return_sequences=min(self.num_return_sequences, beams),
        )

    def to_json(self, end_id: int | None) -> dict[str, Any]:
        """The fields as transformers reads them: `do_sample` false is temperature 0."""
        value = dataclasses.asdict(self)
        del value["seed"]
        for field in dataclasses.fields(self):
            if field.name in _TRANSFORMERS_NAMES:
                changed = value.pop(field.name) != field.default
                if changed:
                    name = _TRANSFORMERS_NAMES[field.name]
                    value[name] = getattr(self, field.name)
        if "early_stopping" in value:
            value["early_stopping"] = _EARLY_STOPPING[self.early_stopping]
        stop = list(value.pop("stop"))
        if stop:
            value["stop_strings"] = stop
        greedy = value.pop("temperature") == 0
        if not greedy:
            value["temperature"] = self.temperature
        return {"do_sample": not greedy, "eos_token_id": end_id, **value}

    @classmethod
    def from_json(
        cls, value: dict[str, Any], where: str, first: int = 0
    ) -> "GenerationConfig":
        """Reads the knobs of a generation_config.json; other fields are ignored.

        Args:
          value: the content of the file.
          where: the start of error messages.
          first: the tokens before every answer: 1 of a model that reads a source. Then
            `max_length` gives max_new_tokens, if the file has none. 0: they differ, and
            `max_length` is ignored.

        As in transformers, `do_sample` is false by default, and samples from the 50
        likeliest tokens if the file has no `top_k`. A `top_k` of null is off.
        A file that samples and has several beams gives one beam: nothing here samples
        beams. `min_new_tokens` replaces `min_length`.

        Raises:
          ValueError: a field has a wrong type or value.
        """
        names = {f.name: f.name for f in dataclasses.fields(cls)} | _TRANSFORMERS_NAMES
        fields = {k: value[v] for k, v in names.items() if value.get(v) is not None}
        early = fields.get("early_stopping", False)
        if not (isinstance(early, bool) or early == "never"):
            raise ValueError(
                f'{where}: early_stopping: {early!r}, false, true or "never" allowed.'
            )
        fields["early_stopping"] = _EARLY_STOPPING.index(early)
        longest = value.get("max_length")
        if first and longest is not None and "max_new_tokens" not in fields:
            if type(longest) is not int or longest <= first:
                raise ValueError(
                    f"{where}: max_length: {longest!r}, integers above {first} allowed."
                )
            fields["max_new_tokens"] = longest - first
        if "min_new_tokens" in fields:
            fields.pop("min_length", None)
        forced = fields.get("forced_eos_token_id")
        if isinstance(forced, int):
            fields["forced_eos_token_id"] = [forced]
        stop = value.get("stop_strings") or []
        fields["stop"] = [stop] if isinstance(stop, str) else stop
        if not value.get("do_sample", False):
            fields["temperature"] = 0.0
        else:
            fields.setdefault("temperature", 1.0)
            if "top_k" not in value:
                fields["top_k"] = _TRANSFORMERS_TOP_K
            fields.update(beams=1, num_return_sequences=1)
        try:
            return from_fields(cls, fields, "generation")
        except ValueError as error:
            raise ValueError(f"{where}: {error}") from None


def _table(kind: str) -> tuple[Knob, ...]:
    """The knobs of a kind, in the order of the fields."""
    return tuple(
        Knob(field.name, default=field.default, **field.metadata[kind])
        for field in dataclasses.fields(GenerationConfig)
        if kind in field.metadata
    )


KNOBS = _table("knob")
NUMBERS = tuple(knob for knob in KNOBS if knob.range)
SEARCH = _table("search")
DRAFTS = _table("draft")
_LENGTHS = _table("length")  # rules of a directory, and not of a request


def _document():
    """Lists the knobs in the docstring, where `help` shows them."""
    text = GenerationConfig.__doc__ or ""  # python -OO drops it
    table = KNOBS + SEARCH + _LENGTHS + DRAFTS
    about = "".join(f"      {knob.name}: {knob.about()}\n" for knob in table)
    GenerationConfig.__doc__ = f"{text.rstrip()}\n{about}"


_document()
