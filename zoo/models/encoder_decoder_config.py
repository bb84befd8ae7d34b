"""The Config of `encoder_decoder`: its fields select the family of the model."""

import dataclasses
from typing import ClassVar

from zoo.fields import at_least, check_fraction, one_of
from zoo.layers import norm
from zoo.layers.mlp import ACTIVATIONS

_ONE_OF = {
    "norm": norm.KINDS,
    "norm_place": ("pre", "post"),
    "positions": ("learned", "sinusoidal", "relative"),
    "activation": ACTIVATIONS,
}
_AT_LEAST = {
    1: ("vocab_size", "width", "encoder_layers", "layers", "heads"),
    0: (
        "source_vocab_size",
        "context",
        "source_context",
        "head_width",
        "mlp_width",
        "norm_epsilon",
        "position_offset",
        "query_scalar",
        "start_id",
        "padding_id",
    ),
}


@dataclasses.dataclass(kw_only=True, slots=True)
class Config:
    """The fields of the model; the defaults are a small Transformer with pre-norm.

    Attributes:
      vocab_size: V, the number of token ids of targets.
      source_vocab_size: the number of token ids of sources; 0 means that sources and
        targets share one embedding table.
      context: the longest target in tokens, with the start token; 0 means any length,
        which relative positions allow.
      source_context: the longest source in tokens; 0 means as `context`.
      width: D, the width of the residual streams.
      encoder_layers, layers: the blocks of the encoder and of the decoder.
      heads: H, of each attention.
      head_width: the width of one head; 0 means width / heads.
      mlp_width: the width of the MLP's activation; 0 means 4 * width.
      scaled_embedding: whether embeddings are multiplied by the square root of width.
      embedding_norm: whether each stack normalises its embeddings (BART).
      norm: "layernorm", "rmsnorm", or "rmsnorm_1p" (see `zoo.layers.norm`).
      norm_place: "pre" (before each attention and MLP, and after the last block of each
        stack) or "post" (after each residual sum).
      norm_epsilon: added to the mean square.
      positions: "learned" (one table for each stack), "sinusoidal" (the first half of
        the vector holds sines, the second half cosines), or "relative" (T5: a bias of
        self-attention's scores, one table for each stack).
      position_offset: the row of the learned table for position 0; BART has 2.
      relative_buckets: of relative positions; a multiple of 4.
      relative_distance: positions that far apart share the last bucket.
      query_scalar: scores are divided by its square root; 0 means the head's width. T5
        has 1.
      activation: of the MLP, one of `zoo.layers.mlp.ACTIVATIONS`.
      gated: whether the MLP has a gate.
      attention_bias, mlp_bias, head_bias: which linear maps have a bias.
      tied_head: whether the head is the embedding table of targets.
      logit_scale: the factor of the head's input; above 0. T5 with a tied head has
        width**-0.5.
      start_id: the token that the decoder reads first.
      padding_id: the token id after the end of a source.
      dropout: the rate after the embeddings, attention and the MLP; in [0, 1).
    """

    task: ClassVar[str] = "seq2seq"
    reads: ClassVar[str] = "text"
    logit_softcap: ClassVar[float] = 0.0

    vocab_size: int = 8192
    source_vocab_size: int = 0
    context: int = 256
    source_context: int = 0
    width: int = 256
    encoder_layers: int = 4
    layers: int = 4
    heads: int = 4
    head_width: int = 0
    mlp_width: int = 0
    scaled_embedding: bool = False
    embedding_norm: bool = False
    norm: str = "layernorm"
    norm_place: str = "pre"
    norm_epsilon: float = 1e-5
    positions: str = "learned"
    position_offset: int = 0
    relative_buckets: int = 32
    relative_distance: int = 128
    query_scalar: int = 0
    activation: str = "relu"
    gated: bool = False
    attention_bias: bool = True
    mlp_bias: bool = True
    head_bias: bool = False
    tied_head: bool = True
    logit_scale: float = 1.0
    start_id: int = 0
    padding_id: int = 0
    dropout: float = 0.0

    def __post_init__(self):
        for least, fields in _AT_LEAST.items():
            for field in fields:
                at_least(f"encoder_decoder.{field}", getattr(self, field), least)
        for field, allowed in _ONE_OF.items():
            one_of(f"encoder_decoder.{field}", getattr(self, field), allowed)
        check_fraction("encoder_decoder.dropout", self.dropout)
        if self.width % self.heads and not self.head_width:
            raise ValueError(
                f"encoder_decoder.heads: {self.heads} does not divide width "
                f"{self.width}; set head_width."
            )
        if not self.logit_scale > 0:
            _refuse("logit_scale", self.logit_scale, "above 0")
        if self.start_id >= self.vocab_size:
            _refuse("start_id", self.start_id, f"below vocab_size {self.vocab_size}")
        if self.padding_id >= self.source_ids:
            _refuse("padding_id", self.padding_id, f"below {self.source_ids}")
        self._check_positions()

    def _check_positions(self):
        """Checks the fields about positions."""
        if self.positions == "relative":
            if self.relative_buckets < 4 or self.relative_buckets % 4:
                _refuse("relative_buckets", self.relative_buckets, "a multiple of 4")
            if self.relative_distance <= self.relative_buckets // 2:
                _refuse(
                    "relative_distance",
                    self.relative_distance,
                    f"above half of relative_buckets {self.relative_buckets}",
                )
        elif not self.context:
            _refuse("context", 0, f"at least 1 with {self.positions} positions")
        if self.positions == "sinusoidal" and self.width % 2:
            _refuse("width", self.width, "an even number with sinusoidal positions")
        if self.positions != "learned" and self.position_offset:
            _refuse("position_offset", self.position_offset, "0 without a table")

    @property
    def source_ids(self) -> int:
        """The number of token ids of sources."""
        return self.source_vocab_size or self.vocab_size

    @property
    def source_limit(self) -> int:
        """The longest source, in tokens; 0 is any length."""
        return self.source_context or self.context

    @property
    def head_size(self) -> int:
        """The width of one head."""
        return self.head_width or self.width // self.heads

    @property
    def scale(self) -> float:
        """The factor of attention's products; 0 is that of the head's width."""
        return self.query_scalar**-0.5 if self.query_scalar else 0.0

    @property
    def feature_width(self) -> int:
        """The width of what the head reads."""
        return self.width


def _refuse(field, value, allowed):
    """Raises the ValueError of a field; `allowed` are words."""
    raise ValueError(f"encoder_decoder.{field}: {value!r}, {allowed} allowed.")
