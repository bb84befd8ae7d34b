"""Samples answers from a model's current weights, with the loop that exports contain.

Prompts are padded on the right. The Decoder reads each row up to its own length, so
the padding changes no answer.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from trainers.rewards.sample import Sample
from trainers.rollouts.prompts import Prompt
from zoo.decode import loop
from zoo.decode.sampling import Knobs
from zoo.generation_config import GenerationConfig
from zoo.text.tokenizer import Tokenizer


class Answers(NamedTuple):
    """Answers to prompts; those of one prompt stand together.

    Attributes:
      samples: N samples, as rewards read them.
      ended: bool [N], whether an end token ended the answer.
      logprobs: float32 [N, A], the model's own log-probability of each token of the
        answer, by the decoding loop; 0 behind the answer.
    """

    samples: list[Sample]
    ended: np.ndarray
    logprobs: np.ndarray


class Sampler:
    """Compiles the decoding of a model once for all sizes of prompts.

    Args:
      model: a language model; each call uses the weights that it has then.
      tokenizer: of the prompts.
      generation: the knobs of all answers, without stop strings.
      samples: answers to each prompt.
    """

    def __init__(
        self,
        model: Any,
        tokenizer: Tokenizer,
        generation: GenerationConfig,
        samples: int,
    ):
        self._tokenizer, self._generation = tokenizer, generation
        self._samples = samples
        ends = tuple(tokenizer.end_ids)

        @tf.function(
            autograph=False,
            input_signature=[
                tf.TensorSpec([None, None], tf.int32),
                tf.TensorSpec([None], tf.int32),
                Knobs.specs(),
            ],
        )
        def run(tokens_PT, lengths_P, knobs):
            return loop.decode(
                model,
                tokens_PT,
                lengths_P,
                knobs,
                ends,
                tokenizer.vocab_size,
                new_tokens=generation.max_new_tokens,
                samples=samples,
            )

        self._run = run

    def __call__(self, prompts: Sequence[Prompt], seeds: np.ndarray) -> Answers:
        """The answers to prompts.

        Args:
          prompts: P prompts.
          seeds: int64 [P * samples], of each answer.
        """
        lengths = [len(prompt.tokens) for prompt in prompts]
        tokens_PT = np.zeros((len(prompts), max(lengths)), np.int32)
        for i, prompt in enumerate(prompts):
            tokens_PT[i, : lengths[i]] = prompt.tokens
        knobs = Knobs.filled(self._generation, len(seeds))
        knobs = knobs._replace(seed=tf.constant(seeds, tf.int64))
        out = self._run(tf.constant(tokens_PT), tf.constant(lengths), knobs)
        tokens, counts, ended = (
            x.numpy() for x in (out.tokens, out.num_tokens, out.stopped)
        )
        samples = [
            self._sample(prompts[i // self._samples], tokens[i, : counts[i]], ended[i])
            for i in range(len(seeds))
        ]
        return Answers(samples, ended, out.logprobs.numpy())

    def _sample(self, prompt, ids, ended) -> Sample:
        """One answer; its text leaves the end token out."""
        ids = ids.tolist()
        text = self._tokenizer.decode(
            ids[:-1] if ended else ids, continuing=prompt.text != ""
        )
        return Sample(
            prompt.text,
            text,
            prompt.tokens + ids,
            bool(ended),
            prompt.example,
            len(prompt.tokens),
        )
