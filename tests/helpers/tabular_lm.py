"""A language model that is a table: one row of logits for each prefix.

Its optimum under a loss can be computed, so it shows what a training method converges
to. A test takes the fixture: `from tabular_lm import tabular_lm`.
"""

import dataclasses
import json
from typing import ClassVar

import keras
import pytest
import tensorflow as tf

from zoo import registry
from zoo.models.language_model import LanguageModel
from zoo.text.tokenizer import Tokenizer


@dataclasses.dataclass(kw_only=True, slots=True)
class Config:
    """The fields of the model.

    Attributes:
      vocab_size: V.
      context: the longest prefix with a row of its own, in tokens. A longer prefix,
        such as padding behind a text, has the row of the empty one.
      spread: the deviation of the initial logits; 0 is a uniform distribution.
      seed: of the initial logits.
    """

    reads: ClassVar[str] = "text"
    task: ClassVar[str] = "generate"

    vocab_size: int = 8
    context: int = 3
    logit_softcap: float = 0.0
    spread: float = 1.0
    seed: int = 0

    @property
    def feature_width(self) -> int:
        """The width of what the head reads: the features are the logits."""
        return self.vocab_size

    @property
    def nodes(self) -> int:
        """The number of prefixes, the empty one included."""
        return sum(self.vocab_size**k for k in range(self.context + 1))


class TabularLM(LanguageModel):
    """Maps `tokens_BT` to `logits_BTV`, and offers the Decoder protocol.

    The empty prefix is node 0, and token v behind node n is node n V + v + 1. The
    state of the Decoder is the node of each row, -1 for a prefix that is too long.
    """

    def __init__(self, config: Config, **kwargs):
        super().__init__(config, **kwargs)
        self.untied_head = None
        self.table = self.add_weight(
            shape=(config.nodes, config.vocab_size),
            initializer=keras.initializers.RandomNormal(
                stddev=config.spread, seed=config.seed
            ),
            name="table",
        )
        self.built = True

    def features(self, tokens_BT, training=False, segments_BT=None, positions_BT=None):
        """The logits behind each token, [B, T, V]."""
        del training, segments_BT, positions_BT
        return self._rows(self._nodes(tokens_BT))

    def head(self):
        """The identity: the features are the logits."""
        return tf.eye(self.config.vocab_size), None

    def start(self, tokens_BT, lengths_B, capacity):
        """Reads prompts of at least one token; returns logits [B, V] and the state."""
        del capacity
        nodes_BT = self._nodes(tokens_BT)
        node_B = tf.gather(nodes_BT, lengths_B - 1, batch_dims=1)
        return tf.cast(self._rows(node_B), tf.float32), [node_B]

    def step(self, token_B, state, in_place=False):
        """Reads one more token of each row."""
        del in_place
        node_B = self._child(state[0], token_B)
        return tf.cast(self._rows(node_B), tf.float32), [node_B]

    def node_of(self, tokens) -> int:
        """The row of a prefix, a list of tokens, in the table."""
        node = 0
        for token in tokens:
            node = node * self.config.vocab_size + token + 1
        assert node < self.config.nodes, tokens
        return node

    def _nodes(self, tokens_BT):
        """The node of each prefix, int32 [B, T]."""
        tokens_TB = tf.transpose(tf.cast(tokens_BT, tf.int32))
        root_B = tf.zeros_like(tokens_TB[0])
        return tf.transpose(tf.scan(self._child, tokens_TB, root_B))

    def _child(self, node_B, token_B):
        """The node behind a node."""
        child_B = node_B * self.config.vocab_size + tf.cast(token_B, tf.int32) + 1
        known_B = (node_B >= 0) & (child_B < self.config.nodes)
        return tf.where(known_B, child_B, -1)

    def _rows(self, nodes):
        """The rows of the table."""
        return tf.gather(tf.convert_to_tensor(self.table), tf.maximum(nodes, 0))


@pytest.fixture
def tabular_lm(monkeypatch):
    """Registers the model for a test; other tests do not see it."""
    entry = registry.Entry(
        "tabular_lm", Config, {}, TabularLM, "a table", own_layers=False
    )
    monkeypatch.setitem(registry._ENTRIES, "tabular_lm", entry)
    return TabularLM


def word_tokenizer(words, end="<end>"):
    """A tokenizer that makes one token of each word; the end token is 0.

    Args:
      words: words without spaces, which get the tokens 1, 2, ...
      end: the name of the end token.
    """
    ids = {word: i for i, word in enumerate((end, *words))}
    special = {
        "single_word": False,
        "lstrip": False,
        "rstrip": False,
        "normalized": False,
        "special": True,
    }
    value = {
        "version": "1.0",
        "added_tokens": [{"id": 0, "content": end, **special}],
        "pre_tokenizer": {"type": "WhitespaceSplit"},
        "model": {"type": "WordLevel", "vocab": ids, "unk_token": end},
    }
    return Tokenizer(json.dumps(value), {"eos_token": end})
