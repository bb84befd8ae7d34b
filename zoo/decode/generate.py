"""Generates text on this machine, with the loop that exported models contain too."""

import functools
import math
import weakref
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from zoo.decode import loop, speculation
from zoo.decode.beam import beam_decode
from zoo.decode.rules import Rules
from zoo.decode.sampling import Knobs
from zoo.decode.search import Search
from zoo.decode.stop_strings import Stops
from zoo.generation_config import GenerationConfig
from zoo.row_seeds import row_seed
from zoo.text.in_graph import tokenizer as graph_tokenizer
from zoo.text.tokenizer import Tokenizer


class Generated(NamedTuple):
    """One answer.

    A search that finds fewer answers than num_return_sequences fills up with answers of
    no token and the log-probability -infinity.

    Attributes:
      text: the continuation, without the prompt and without a stop string.
      tokens: its ids; the last one may be an end token or complete a stop string.
      finish_reason: "stop" or "length".
      logprob: the log-probability of the tokens under the model, before any knob.
    """

    text: str
    tokens: list[int]
    finish_reason: str
    logprob: float


def generate(
    model: Any,
    tokenizer: Tokenizer,
    prompts: str | Sequence[str | list[int]],
    generation: GenerationConfig | None = None,
    fit: bool = False,
) -> list[Generated]:
    """Continues each prompt.

    Args:
      model: a language model of the zoo.
      tokenizer: its `Tokenizer`.
      prompts: texts, or token ids such as those of a chat; or one text. An empty text
        starts from the end token, as a new document does.
      generation: the knobs and the rules of all prompts; prompt i has the seed
        `row_seed(seed, i)`. Without it the defaults apply, and `fit` is on. With
        `beams` above 1 it is beam search.
      fit: whether to lower max_new_tokens to the room in the model's context, and top_k
        to the vocabulary. If off, larger values are errors.

    Returns:
      The num_return_sequences answers of each prompt, the best first. Those of a prompt
      stand one after another, in the order of the prompts.

    Raises:
      ValueError: there is no prompt; a prompt and its new tokens exceed the model's
        context; the model cannot check the drafts of prompt_lookup_num_tokens; a rule
        forces a token that there is not; or there are stop strings and the tokenizer
        cannot be put in a graph.
    """
    if isinstance(prompts, str):
        prompts = [prompts]
    if not prompts:
        raise ValueError("prompts: none, at least 1 allowed.")
    rows = [_start(tokenizer, prompt) for prompt in prompts]
    longest = max(map(len, rows))
    if fit or generation is None:
        generation = generation or GenerationConfig()
        room = model.limit - longest if model.limit else generation.max_new_tokens
        if getattr(model, "reads_source", False):
            room = model.target_limit or generation.max_new_tokens
        generation = generation.fitted(max(room, 1), tokenizer.vocab_size)
    _check(model, tokenizer, longest, generation)
    tokens_BT = np.zeros((len(rows), longest), np.int32)
    for i, row in enumerate(rows):
        tokens_BT[i, : len(row)] = row
    lengths_B = tf.constant([len(row) for row in rows], tf.int32)
    seeds = [row_seed(generation.seed, i) for i in range(len(rows))]
    knobs = Knobs.filled(generation, len(rows))
    knobs = knobs._replace(seed=tf.constant(seeds, tf.int64))
    search = Search.filled(generation, len(rows))
    stop = generation.stop
    stop_BS = tf.constant([stop] * len(rows), tf.string, [len(rows), len(stop)])
    run = _compiled(model, tokenizer, generation)
    out = run(tf.constant(tokens_BT), lengths_B, knobs, search, stop_BS)
    tokens_BKN, count_BK, stopped_BK, logprobs_BKN = (x.numpy() for x in out)
    answers = []
    for i, prompt in enumerate(prompts):
        # a target begins a text, and does not continue its source
        goes_on = prompt != "" and not getattr(model, "reads_source", False)
        for k in range(generation.num_return_sequences):
            ids = tokens_BKN[i, k, : count_BK[i, k]].tolist()
            reason = "stop" if stopped_BK[i, k] else "length"
            logprob = float(tf.reduce_sum(logprobs_BKN[i, k])) if ids else -math.inf
            text = tokenizer.decode(ids, continuing=goes_on)
            text = text[: min((text.find(s) for s in stop if s in text), default=None)]
            answers.append(Generated(text, ids, reason, logprob))
    return answers


def _start(tokenizer, prompt) -> list[int]:
    """The ids of a prompt; those of an empty one begin a document."""
    ids = list(prompt)
    if isinstance(prompt, str):
        ids = tokenizer.prefix + tokenizer.encode(prompt)
    if not ids and tokenizer.end_id is None:
        raise ValueError("prompt: empty, and the tokenizer has no token to begin with.")
    return ids or [tokenizer.end_id]


def _check(model, tokenizer, longest, generation):
    """Refuses knobs that the model or the tokenizer has no room for."""
    speculation.check(model, generation.prompt_lookup_num_tokens)
    if getattr(model, "reads_source", False):
        for what, tokens, most in (
            ("source", longest, model.limit),
            ("max_new_tokens", generation.max_new_tokens, model.target_limit),
        ):
            if most and tokens > most:
                raise ValueError(f"{what}: {tokens} tokens, at most {most} allowed.")
    elif model.limit and longest + generation.max_new_tokens > model.limit:
        raise ValueError(
            f"prompt of {longest} tokens and max_new_tokens "
            f"{generation.max_new_tokens}: the model's context is {model.limit}."
        )
    if generation.top_k > tokenizer.vocab_size:
        raise ValueError(
            f"top_k: {generation.top_k}, at most the vocabulary's "
            f"{tokenizer.vocab_size} allowed."
        )


_FUNCTIONS = weakref.WeakKeyDictionary()  # model -> its compiled functions


def _compiled(model, tokenizer, generation):
    """The compiled loop or search of a model, one for each tokenizer and its rules.

    It returns tokens, counts, stops and log-probabilities, [B, K, ...].
    """
    end_ids, size = tuple(tokenizer.end_ids), tokenizer.vocab_size
    rules, stops = Rules.of(generation, end_ids), bool(generation.stop)
    several, ngrams = generation.beams > 1, generation.no_repeat_ngram > 0
    functions = _FUNCTIONS.setdefault(model, {})
    drafts = generation.prompt_lookup_num_tokens
    key = (end_ids, size, stops and hash(tokenizer.json), rules, several, ngrams)
    key += (drafts,)
    if key not in functions:
        reference = weakref.ref(model)
        graph = graph_tokenizer.build(tokenizer.json) if stops else None

        @functools.partial(
            tf.function,
            autograph=False,
            input_signature=[
                tf.TensorSpec([None, None], tf.int32),
                tf.TensorSpec([None], tf.int32),
                Knobs.specs(),
                Search.specs(),
                tf.TensorSpec([None, None], tf.string),
            ],
        )
        def run(tokens_BT, lengths_B, knobs, search, stop_BS):
            stop = Stops(stop_BS, graph.token_bytes) if graph else None
            inputs, options = (tokens_BT, lengths_B, knobs), (end_ids, size)
            if several:
                return beam_decode(
                    reference(), *inputs, search, *options, stop=stop, rules=rules
                )[:4]
            own = rules._replace(
                no_repeat_ngram=search.no_repeat_ngram if ngrams else None
            )
            out = loop.decode(
                reference(), *inputs, *options, stop=stop, rules=own, drafts=drafts
            )
            return tuple(x[:, None] for x in out[:4])

        functions[key] = run
    return functions[key]
