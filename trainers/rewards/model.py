"""The reward of a model directory: a language model with a head for one number."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from trainers.rewards.sample import Sample
from zoo import directory
from zoo.text.tokenizer import Tokenizer, library_tokenizer

_BATCH = 16  # samples at a time
_STEP = 64  # rows are padded to a multiple, so that few shapes are compiled


class ModelReward:
    """Scores the tokens of prompt and answer, as they were sampled.

    Args:
      where: a model directory whose task is "regress", such as a trained reward model.
      tokenizer: the `Tokenizer` of the samples.

    Raises:
      ValueError: the directory is missing or broken, its model has another task, or its
        vocabulary is another one: the tokens would have another meaning.
    """

    def __init__(self, where: str, tokenizer: Any):
        loaded = directory.load(where)
        config = loaded.model.config
        if config.reads != "text" or config.task != "regress":
            raise ValueError(
                f"rewards: model:{where} has the task {config.task!r}, regress allowed."
            )
        own: Any = loaded.tokenizer
        if tokenizer is None or own is None:
            raise ValueError(f"rewards: model:{where}: a tokenizer is missing.")
        if _vocabulary(own) != _vocabulary(tokenizer):
            raise ValueError(
                f"rewards: model:{where} has another vocabulary than the model that "
                f"answers ({own.vocab_size} and {tokenizer.vocab_size} tokens). Only "
                "the same one is allowed: tokens are not made again from text."
            )
        self._where, self._model = where, loaded.model
        self._limit = loaded.model.limit or 0

        @tf.function(
            autograph=False,
            input_signature=[
                tf.TensorSpec([None, None], tf.int32),
                tf.TensorSpec([None], tf.int32),
            ],
        )
        def values(tokens_BT, lengths_B):
            return loaded.model(tokens_BT, lengths_B, training=False)

        self._values = values

    def check_length(self, tokens: int) -> None:
        """Raises ValueError where prompt and answer may have too many tokens."""
        if self._limit and tokens > self._limit:
            raise ValueError(
                f"rewards: model:{self._where} reads at most {self._limit} tokens, but "
                f"a prompt with its answer may have {tokens}; lower "
                "objective.max_new_tokens, or drop long prompts by data.length."
            )

    def __call__(self, samples: Sequence[Sample]) -> np.ndarray:
        """The value of each sample, float64 [N].

        Raises:
          ValueError: a sample has more tokens than the model can read, or none but an
            end token.
        """
        # a reward model learns answers without their end token, as `regress` reads them
        sizes = [len(sample.tokens) - sample.ended for sample in samples]
        for sample, size in zip(samples, sizes, strict=True):
            if not 1 <= size <= (self._limit or size):
                raise ValueError(
                    f"reward model:{self._where}: {size} tokens, 1 to "
                    f"{self._limit or 'any number'} allowed: {sample.shown()}."
                )
        order = np.argsort(sizes, kind="stable")
        found_N = np.zeros(len(samples))
        for first in range(0, len(order), _BATCH):
            part = order[first : first + _BATCH]
            longest = max(sizes[i] for i in part)
            width = -(-longest // _STEP) * _STEP
            if self._limit:
                width = min(width, self._limit)
            tokens_BT = np.zeros((len(part), width), np.int32)
            for row, i in enumerate(part):
                tokens_BT[row, : sizes[i]] = samples[i].tokens[: sizes[i]]
            lengths_B = np.array([sizes[i] for i in part], np.int32)
            found_N[part] = self._values(tokens_BT, lengths_B).numpy()
        return found_N


def _vocabulary(tokenizer: Tokenizer) -> dict[str, int]:
    """The id of each token."""
    return library_tokenizer(tokenizer.json).get_vocab()
