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
    """

    where: str
    config: dict[str, Any]
    tensors: Mapping[str, np.ndarray]
    tokenizer: Tokenizer | None | Callable[[], Tokenizer | None]
    generation: GenerationConfig
    check: Callable[[], None] = lambda: None

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


class Loaded(NamedTuple):
    """A model that is ready to use.

    Attributes:
      model: a built keras.Model in float32.
      tokenizer: a `Tokenizer`, or None for a model of features.
      generation: the defaults of generation.
    """

    model: Any
    tokenizer: Tokenizer | None
    generation: GenerationConfig
