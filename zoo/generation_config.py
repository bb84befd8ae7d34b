"""The defaults of generation that travel with a model: generation_config.json."""

import dataclasses
import math
from typing import Any

from zoo.fields import at_least, from_fields


@dataclasses.dataclass(kw_only=True, slots=True)
class GenerationConfig:
    """One value for each knob; the names and ranges of the `generate` signature.

    Attributes:
      max_new_tokens: at least 1.
      temperature: 0 is greedy.
      top_k: 0 is off.
      top_p: above 0 and at most 1, which is off.
      min_p: 0 is off.
      repetition_penalty: above 0; 1 is off.
      seed: of sampling.
      stop: strings that end a text, none of them empty.
    """

    max_new_tokens: int = 64
    temperature: float = 0.0
    top_k: int = 0
    top_p: float = 1.0
    min_p: float = 0.0
    repetition_penalty: float = 1.0
    seed: int = 0
    stop: tuple[str, ...] = ()

    def __post_init__(self):
        at_least("max_new_tokens", self.max_new_tokens, 1)
        at_least("temperature", self.temperature, 0)
        at_least("top_k", self.top_k, 0)
        if not 0 < self.top_p <= 1:
            raise ValueError(f"top_p: {self.top_p}, above 0 and at most 1 allowed.")
        if not 0 <= self.min_p <= 1:
            raise ValueError(f"min_p: {self.min_p}, from 0 to 1 allowed.")
        if not 0 < self.repetition_penalty < math.inf:
            raise ValueError(
                f"repetition_penalty: {self.repetition_penalty}, above 0 allowed."
            )

        if "" in self.stop:
            raise ValueError(f"stop: {self.stop}, no empty string allowed.")

    def to_json(self, end_id: int) -> dict[str, Any]:
        """As transformers reads it: temperature 0 is `do_sample` false."""
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
        """Reads the fields that it knows; transformers writes many more.

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
        try:
            return from_fields(cls, fields, "generation")
        except ValueError as error:
            raise ValueError(f"{where}: {error}") from None
