"""The choices of `transformer_lm`: families of models by config, not by copy."""

import dataclasses
from typing import ClassVar

from zoo.fields import at_least, check_fraction, one_of
from zoo.layers import attention, norm, rotary
from zoo.layers.mlp import ACTIVATIONS

_ONE_OF = {
    "norm": norm.KINDS,
    "norm_place": ("pre", "post", "both"),
    "residual": ("sequential", "parallel", "parallel_shared"),
    "positions": ("learned", "rotary"),
    "rope_scaling": rotary.SCALINGS,
    "activation": ACTIVATIONS,
}
_AT_LEAST = {
    1: ("vocab_size", "context", "width", "layers", "heads", "rope_factor"),
    0: (
        "kv_heads",
        "head_width",
        "mlp_width",
        "norm_epsilon",
        "position_offset",
        "rope_local_theta",
        "rope_context",
        "rope_magnitude",
        "window",
        "query_scalar",
        "attention_softcap",
        "logit_softcap",
    ),
}


@dataclasses.dataclass(kw_only=True, slots=True)
class Config:
    """The shape of the model; the defaults are GPT-2's choices at a small size.

    Attributes:
      vocab_size: V, the number of token ids.
      context: the longest sequence, in tokens.
      width: D, of the residual stream.
      layers: the number of blocks.
      heads: H, query heads.
      kv_heads: K, key-value heads; 0 means as many as query heads.
      head_width: of one head; 0 means width / heads.
      mlp_width: of the feed-forward part; 0 means 4 * width.
      scaled_embedding: whether embeddings are multiplied by the root of width.
      norm: "layernorm", "rmsnorm", or "rmsnorm_1p" (see `zoo.layers.norm`).
      norm_place: "pre" (before each part, and once at the end), "post" (after each
        residual sum), or "both" (before and after each part, and once at the end).
      norm_epsilon: added to the mean square.
      residual: "sequential" (the feed-forward part reads what attention wrote),
        "parallel" (both read the same stream), or "parallel_shared" (through one norm).
      positions: "learned" or "rotary".
      position_offset: the row of the learned table for position 0.
      rope_theta: the base of the rotary angles, above 1.
      rope_local_theta: that of layers with a window, whose angles are not stretched;
        0 means that they turn as all others.
      rotary_fraction: the share of each head that is turned.
      rope_scaling: "none", "linear", "llama3" or "yarn" (see `zoo.layers.rotary`).
      rope_factor: by which slow angles are slowed, at least 1.
      rope_context: the context of the training before the stretch (llama3, yarn).
      rope_slow, rope_fast: the turns within `rope_context` up to which a pair is slow,
        and from which it is not; llama3 takes 1 and 4, yarn 1 and 32.
      rope_magnitude: of yarn's cosines and sines; 0 means 0.1 * ln(rope_factor) + 1.
      window: how many positions a layer sees, itself included; 0 means all.
      global_layers: the layers, counted from 0, that see all in spite of `window`.
      qk_norm: whether each head of queries and keys is normalised.
      query_scalar: scores are divided by its root; 0 means the head's width.
      attention_softcap: of the scores; 0 is off.
      activation: of the feed-forward part.
      gated: whether a gate multiplies the feed-forward part.
      qkv_bias, out_bias, mlp_bias, head_bias: which linear maps have a bias.
      tied_head: whether the head is the embedding table.
      logit_softcap: 0 is off.
      dropout: of the embeddings and of what each part adds to the stream.
    """

    task: ClassVar[str] = "generate"
    reads: ClassVar[str] = "text"

    vocab_size: int = 8192
    context: int = 256
    width: int = 384
    layers: int = 6
    heads: int = 6
    kv_heads: int = 0
    head_width: int = 0
    mlp_width: int = 0
    scaled_embedding: bool = False
    norm: str = "layernorm"
    norm_place: str = "pre"
    norm_epsilon: float = 1e-5
    residual: str = "sequential"
    positions: str = "learned"
    position_offset: int = 0
    rope_theta: float = 10000.0
    rope_local_theta: float = 0.0
    rotary_fraction: float = 1.0
    rope_scaling: str = "none"
    rope_factor: float = 1.0
    rope_context: int = 0
    rope_slow: float = 1.0
    rope_fast: float = 32.0
    rope_magnitude: float = 0.0
    window: int = 0
    global_layers: tuple[int, ...] = ()
    qk_norm: bool = False
    query_scalar: int = 0
    attention_softcap: float = 0.0
    activation: str = "gelu_tanh"
    gated: bool = False
    qkv_bias: bool = True
    out_bias: bool = True
    mlp_bias: bool = True
    head_bias: bool = False
    tied_head: bool = True
    logit_softcap: float = 0.0
    dropout: float = 0.0

    def __post_init__(self):
        for least, fields in _AT_LEAST.items():
            for field in fields:
                at_least(f"transformer_lm.{field}", getattr(self, field), least)
        for field, allowed in _ONE_OF.items():
            one_of(f"transformer_lm.{field}", getattr(self, field), allowed)
        check_fraction("transformer_lm.dropout", self.dropout)
        if self.width % self.heads and not self.head_width:
            raise ValueError(
                f"transformer_lm.heads: {self.heads} does not divide width "
                f"{self.width}; set head_width."
            )
        if self.kv_heads and self.heads % self.kv_heads:
            raise ValueError(
                f"transformer_lm.kv_heads: {self.kv_heads} does not divide heads "
                f"{self.heads}."
            )
        if self.head_bias and self.tied_head:
            _refuse("head_bias", True, "False with tied_head")
        if self.residual != "sequential" and self.norm_place != "pre":
            _refuse("norm_place", self.norm_place, f"pre with residual {self.residual}")
        self._check_layers()
        if self.positions == "rotary":
            self._check_rope()

    def _check_layers(self):
        layers = self.global_layers
        ordered = all(a < b for a, b in zip(layers, layers[1:], strict=False))
        if layers and not (ordered and 0 <= layers[0] and layers[-1] < self.layers):
            _refuse("global_layers", layers, f"some of 0 to {self.layers - 1} in order")
        for field in ("global_layers", "rope_local_theta"):
            if getattr(self, field) and not self.window:
                _refuse(field, getattr(self, field), "nothing without a window")

    def _check_rope(self):
        if not self.rope_theta > 1:
            _refuse("rope_theta", self.rope_theta, "above 1")
        if 0 < self.rope_local_theta <= 1:
            _refuse("rope_local_theta", self.rope_local_theta, "0 or above 1")
        if not 0 < self.rotary_fraction <= 1 or self.rotary_width < 2:
            _refuse(
                "rotary_fraction", self.rotary_fraction, "from a pair to the whole head"
            )
        if self.rotary_width % 2:
            field = "head_width" if self.rotary_fraction == 1 else "rotary_fraction"
            raise ValueError(
                f"transformer_lm.{field}: {self.rotary_width} is odd; rotary positions "
                "turn pairs."
            )
        if self.rope_scaling in ("llama3", "yarn"):
            at_least("transformer_lm.rope_context", self.rope_context, 1)
            if not 0 < self.rope_slow < self.rope_fast:
                _refuse("rope_slow", self.rope_slow, f"0 to rope_fast {self.rope_fast}")

    @property
    def head_size(self) -> int:
        """The width of one head."""
        return self.head_width or self.width // self.heads

    @property
    def rotary_width(self) -> int:
        """How much of each head rotary positions turn."""
        return int(self.head_size * self.rotary_fraction)

    def is_local(self, layer: int) -> bool:
        """Whether a layer sees no more than the window."""
        return self.window > 0 and layer not in self.global_layers

    def scores(self, layer: int) -> attention.Scores:
        """What a layer does with the products of queries and keys."""
        return attention.Scores(
            scale=self.query_scalar**-0.5 if self.query_scalar else 0.0,
            softcap=self.attention_softcap,
            window=self.window if self.is_local(layer) else 0,
        )

    def frequencies(self, local: bool = False):
        """What `rotary.frequencies` gives for layers with a window, or for others."""
        if local and self.rope_local_theta:
            return rotary.frequencies(self.rotary_width, self.rope_local_theta)
        scaling = rotary.Scaling(
            self.rope_scaling,
            self.rope_factor,
            self.rope_context,
            self.rope_slow,
            self.rope_fast,
            self.rope_magnitude,
        )
        return rotary.frequencies(self.rotary_width, self.rope_theta, scaling)


def _refuse(field, value, allowed):
    raise ValueError(f"transformer_lm.{field}: {value!r}, {allowed} allowed.")
