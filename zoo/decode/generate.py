"""Generates text on this machine, with the loop that exported models hold too."""

import dataclasses
import functools
import weakref
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from zoo.decode import loop, sampling
from zoo.decode.stop_strings import Stops
from zoo.text.in_graph import tokenizer as graph_tokenizer


class Generated(NamedTuple):
    """One answer.

    Attributes:
      text: the continuation, without the prompt and without a stop string.
      tokens: its ids, the end token or what completed the stop string included.
      finish_reason: "stop" or "length".
      logprob: of the tokens, under the model before any knob.
    """

    text: str
    tokens: list[int]
    finish_reason: str
    logprob: float


def generate(
    model, tokenizer, prompts: list[str | list[int]], generation
) -> list[Generated]:
    """Continues each prompt.

    Args:
      model: a language model of the zoo.
      tokenizer: its `Tokenizer`.
      prompts: texts, or token ids such as a chat's. An empty text starts from the end
        token, as a new document does.
      generation: a `GenerationConfig`, for all prompts alike; row i has seed + i.

    Raises:
      ValueError: a prompt and its new tokens exceed the model's context, or there are
        stop strings and the tokenizer cannot be put in a graph.
    """
    prefix = tokenizer.prefix
    rows = [
        prefix + tokenizer.encode(p) if isinstance(p, str) else list(p) for p in prompts
    ]
    rows = [row or [tokenizer.end_id] for row in rows]
    longest = max(map(len, rows)) + generation.max_new_tokens
    if model.limit and longest > model.limit:
        raise ValueError(
            f"prompt of {max(map(len, rows))} tokens and max_new_tokens "
            f"{generation.max_new_tokens}: the model's context is {model.limit}."
        )
    if generation.top_k > tokenizer.vocab_size:
        raise ValueError(
            f"top_k: {generation.top_k}, at most the vocabulary's "
            f"{tokenizer.vocab_size} allowed."
        )
    tokens_BT = np.zeros((len(rows), max(map(len, rows))), np.int32)
    for i, row in enumerate(rows):
        tokens_BT[i, : len(row)] = row
    lengths_B = tf.constant([len(row) for row in rows], tf.int32)
    knobs = dataclasses.asdict(generation)
    stop = knobs.pop("stop")
    seeds = generation.seed + np.arange(len(rows), dtype=np.int64)
    knobs = sampling.Knobs(
        **{
            name: tf.fill([len(rows)], tf.constant(value, kind))
            for (name, kind), value in zip(_KINDS, knobs.values(), strict=True)
        }
    )._replace(seed=tf.constant(seeds))
    stop_BS = tf.constant([stop] * len(rows), tf.string, [len(rows), len(stop)])
    run = _compiled(model, tokenizer, bool(stop))
    out = run(tf.constant(tokens_BT), lengths_B, knobs, stop_BS)
    answers = []
    for i in range(len(rows)):
        count = int(out.num_tokens[i])
        ids = out.tokens[i, :count].numpy().tolist()
        reason = "stop" if out.stopped[i] else "length"
        logprob = float(tf.reduce_sum(out.logprobs[i]))
        text = tokenizer.decode(ids)
        text = text[: min((text.find(s) for s in stop if s in text), default=None)]
        answers.append(Generated(text, ids, reason, logprob))
    return answers


_KINDS = [
    ("max_new_tokens", tf.int32),
    ("temperature", tf.float32),
    ("top_k", tf.int32),
    ("top_p", tf.float32),
    ("min_p", tf.float32),
    ("repetition_penalty", tf.float32),
    ("seed", tf.int64),
]
_FUNCTIONS = weakref.WeakKeyDictionary()  # a model is compiled once


def _compiled(model, tokenizer, stops):
    end_ids, size = tuple(tokenizer.end_ids), tokenizer.vocab_size
    functions = _FUNCTIONS.setdefault(model, {})
    key = (end_ids, size, stops and hash(tokenizer.json))
    if key not in functions:
        rows = [tf.TensorSpec([None], kind) for _, kind in _KINDS]
        reference = weakref.ref(model)
        graph = graph_tokenizer.build(tokenizer.json) if stops else None

        @functools.partial(
            tf.function,
            autograph=False,
            input_signature=[
                tf.TensorSpec([None, None], tf.int32),
                tf.TensorSpec([None], tf.int32),
                sampling.Knobs(*rows),
                tf.TensorSpec([None, None], tf.string),
            ],
        )
        def run(tokens_BT, lengths_B, knobs, stop_BS):
            stop = Stops(stop_BS, graph.token_bytes) if graph else None
            return loop.decode(
                reference(), tokens_BT, lengths_B, knobs, end_ids, size, stop=stop
            )

        functions[key] = run
    return functions[key]
