"""A pretrained model, before and after it is built.

An importer reads its files into a `Pretrained`: a config.json, and tensors by Hugging
Face's names. `assemble` builds the model from these, and checks them.
"""

import math
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np

from zoo.directory.safetensors_file import Tensors
from zoo.generation_config import GenerationConfig
from zoo.text.tokenizer import Tokenizer

__all__ = ["Loaded", "Pretrained", "Tensors"]


class Pretrained(NamedTuple):
    """A model as its files describe it.

    Attributes:
      where: the folder or file; error messages start with it.
      config: the content of a config.json.
      tensors: arrays in float32, float16 or bfloat16 by Hugging Face's names. They are
        `Tensors` if a file must be read for each.
      tokenizer: a `Tokenizer`, None for a model of features, or a function that returns
        one of these. The function is called while threads copy the tensors.
      generation: the defaults of generation.
      check: compares the weights with their digest, and raises a ValueError. It is
        called while threads copy the tensors.
      source_tokenizer: the tokenizer of sources, in the same forms; None is that of
        targets, `tokenizer`.
    """

    where: str
    config: dict[str, Any]
    tensors: Mapping[str, np.ndarray]
    tokenizer: Tokenizer | None | Callable[[], Tokenizer | None]
    generation: GenerationConfig
    check: Callable[[], None] = lambda: None
    source_tokenizer: Tokenizer | None | Callable[[], Tokenizer | None] = None

    @property
    def size(self) -> int:
        """The number of bytes of all tensors in float32."""
        return 4 * sum(map(math.prod, self.shapes.values()))

    @property
    def shapes(self) -> Mapping[str, tuple[int, ...]]:
        """The shape of each tensor by name, without reading it."""
        if isinstance(self.tensors, Tensors):
            return self.tensors.shapes
        return {name: tensor.shape for name, tensor in self.tensors.items()}


class _Loaded(NamedTuple):
    """The three values of `Loaded`."""

    model: Any
    tokenizer: Tokenizer | None
    generation: GenerationConfig


class Loaded(_Loaded):
    """A model that is ready to use; it is unpacked as the first three of these.

    Attributes:
      model: a built keras.Model in float32.
      tokenizer: a `Tokenizer`, or None for a model of features.
      generation: the defaults of generation.
      source_tokenizer: the `Tokenizer` of sources; None is that of targets,
        `tokenizer`.
    """

    source_tokenizer: Tokenizer | None

    def __new__(cls, model, tokenizer, generation, source_tokenizer=None):
        self = super().__new__(cls, model, tokenizer, generation)
        self.source_tokenizer = source_tokenizer
        return self

    def _replace(self, **changes: Any) -> "Loaded":
        """A copy with other values."""
        names = (*self._fields, "source_tokenizer")
        return Loaded(**{name: getattr(self, name) for name in names} | changes)
