"""The answers of `generate` and `chat`: the knobs of a request, and texts for ids."""

from typing import Any, NamedTuple

import tensorflow as tf

from zoo.decode import mixed
from zoo.decode.rules import Rules
from zoo.decode.sampling import Knobs
from zoo.decode.search import Search, searching
from zoo.decode.stop_strings import Stops
from zoo.generation_config import KNOBS
from zoo.saved_model import request_checks as checks
from zoo.saved_model import token_rows
from zoo.saved_model.shared_parts import Shared
from zoo.saved_model.token_rows import lengths as lengths_of


class Request(NamedTuple):
    """What the rows of a request ask for.

    Attributes:
      stop: string [B, 8], "" is none.
      knobs: `Knobs`.
      search: `Search`, or None where the graph has no search.
    """

    stop: Any
    knobs: Knobs
    search: Search | None


class Answers:
    """Continues checked ids, and gives texts.

    Args:
      model: a Decoder.
      tokenizer: the GraphTokenizer of answers; the caller owns its tables.
      end_ids: the tokens that end an answer.
      vocab_size: the number of tokens that an answer may have.
      generation: the defaults of the knobs, and the rules of all answers.
      most_new_tokens: the largest max_new_tokens.
      beams: the most beams; 0 leaves search out, with its knobs and its outputs.
      batching: a `Batching`.
      drafts: the most tokens of a draft, as `zoo.decode.speculation` has it; 0 is off,
        and with beams.

    Attributes:
      specs: knob -> its spec as an input.
      defaults: knob -> its default as an input.
    """

    def __init__(
        self,
        model,
        tokenizer,
        end_ids,
        vocab_size,
        generation,
        most_new_tokens,
        beams,
        batching,
        drafts=0,
    ):
        self._model, self._tokenizer, self._batching = model, tokenizer, batching
        self._end_ids, self._vocab_size = tuple(end_ids), vocab_size
        self._generation, self._most = generation, most_new_tokens
        self._search, self._drafts = searching(beams), drafts
        table = KNOBS + self._search
        self.specs = {knob.name: checks.spec(knob) for knob in table}
        self.defaults = {knob.name: checks.default(knob, generation) for knob in table}
        self._checked = Shared(self._check, tf.TensorSpec([], tf.int32), self.specs)
        self._decoded = Shared(
            self._decode,
            tf.RaggedTensorSpec([None, None], tf.int32),
            tf.TensorSpec([None], tf.bool),
            tf.TensorSpec([None, checks.MOST_STOPS], tf.string),
            *Knobs.specs(),
            *(Search.specs() if beams else ()),
            apart=True,
        )

    def request(self, given: dict[str, Any], rows) -> Request:
        """The checked knobs of each row.

        Args:
          given: by name, [B, ...], or [1, ...] for all rows alike; {} is the defaults.
          rows: B.
        """
        if given:
            return self._checked(rows, given)
        knobs = Knobs.filled(self._generation, rows)
        search = Search.filled(self._generation, rows) if self._search else None
        return Request(checks.stops(self.defaults["stop"], rows), knobs, search)

    def __call__(self, ids, continuing_B, request: Request) -> dict[str, tf.Tensor]:
        """The outputs of `generate`.

        Args:
          ids: ragged int32 [B, None], checked prompts or sources.
          continuing_B: bool, whether an answer continues a text.
          request: what each row asks for.
        """
        knobs, search = request.knobs, request.search
        inputs = [ids, continuing_B, request.stop, *knobs, *(search or ())]
        cost_B = knobs.max_new_tokens * (search.beams if search else 1)
        out = self._batching(self._decoded, inputs, cost_B)
        # another row of a merged batch may have more tokens or answers
        N = tf.reduce_max(knobs.max_new_tokens)
        for key in ("tokens", "token_logprobs"):
            out[key] = out[key][:, :N]
        if search:
            R = tf.reduce_max(search.num_return_sequences)
            for key in ("texts", "scores"):
                out[key] = out[key][:, :R]
        return out

    def _check(self, rows, given):
        """`request` of knobs that are given."""
        knobs = checks.checked(given, rows, self._vocab_size, self._most)
        search = None
        if self._search:
            search = checks.searched(self._search, given, rows, knobs.temperature)
        return Request(checks.stops(given["stop"], rows), knobs, search)

    def _decode(self, ids, continuing_B, stop_BS, *values):
        """The outputs for a batch."""
        split = len(Knobs._fields)
        knobs, search = Knobs(*values[:split]), None
        if self._search:
            search = Search(*values[split:])
        stops = Stops(stop_BS, self._tokenizer.token_bytes)
        ngram_B = search and search.no_repeat_ngram
        found = mixed.decode(
            self._model,
            ids.to_tensor(),
            lengths_of(ids),
            knobs,
            search,
            self._end_ids,
            self._vocab_size,
            stops,
            Rules.of(self._generation, self._end_ids, ngram_B),
            self._drafts,
        )
        first = tf.nest.map_structure(lambda x: x[:, 0], found)
        outputs = {
            "num_tokens": first.num_tokens,
            "finish_reason": tf.where(first.stopped, "stop", "length"),
            "logprob": tf.reduce_sum(first.logprobs, -1),
            "tokens": first.tokens,
            "token_logprobs": first.logprobs,
        }
        if search is None:
            count_B = first.num_tokens
            text_B = self._texts(first.tokens, count_B, continuing_B, stops)
            return {"text": text_B, **outputs}
        B, K, N = tf.unstack(tf.shape(found.tokens))
        wanted_BK = tf.range(K)[None] < search.num_return_sequences[:, None]
        count_BK = tf.where(wanted_BK, found.num_tokens, 0)
        text_R = self._texts(
            tf.reshape(found.tokens, (-1, N)),
            tf.reshape(count_BK, [-1]),
            tf.repeat(continuing_B, K),
            stops.repeated(K),
        )
        text_BK = tf.reshape(text_R, (B, K))
        scores_BK = tf.where(count_BK > 0, found.scores, 0.0)
        return {
            "text": text_BK[:, 0],
            **outputs,
            "texts": text_BK,
            "scores": scores_BK,
        }

    def _texts(self, tokens_RN, count_R, continuing_R, stops):
        """The text of each answer, up to its first stop string."""
        ids = token_rows.ragged(tokens_RN, count_R)
        text_R = self._tokenizer.decode(ids, continuing_R)
        return stops.cut(text_R, tokens_RN, count_R)
