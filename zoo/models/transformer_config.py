"""The Config of `transformer_lm`: its fields select the family of the model."""

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
    """The fields of the model; the defaults are those of GPT-2, at a small size.

    Attributes:
      vocab_size: V, the number of token ids.
      context: the longest sequence, in tokens.
      width: D, the width of the residual stream.
      layers: the number of blocks.
      heads: H, query heads.
      kv_heads: K, key-value heads; 0 means as many as query heads.
      head_width: the width of one head; 0 means width / heads.
      mlp_width: the width of the MLP's activation; 0 means 4 * width.
      scaled_embedding: whether embeddings are multiplied by the square root of width.
      norm: "layernorm", "rmsnorm", or "rmsnorm_1p" (see `zoo.layers.norm`).
      norm_place: "pre" (before attention, before the MLP, and after the last block),
        "post" (after each residual sum), or "both" (as "pre", and also after attention
        and after the MLP).
      norm_epsilon: added to the mean square.
      residual: "sequential" (the MLP reads the stream after attention), "parallel"
        (both read the same stream), or "parallel_shared" (both read it by one norm).
      positions: "learned" or "rotary".
      position_offset: the row of the learned table for position 0.
      rope_theta: the base of the rotary frequencies, above 1.
      rope_local_theta: the base in layers with a window, which then have no scaling;
        0 means the same frequencies as in all other layers.
      rotary_fraction: the fraction of each head that is rotated, above 0 and up to 1.
      rope_scaling: "none", "linear", "llama3" or "yarn" (see `zoo.layers.rotary`).
      rope_factor: the frequency of slow pairs is divided by it; at least 1.
      rope_context: the context of the training before scaling (llama3, yarn).
      rope_slow, rope_fast: in rotations within `rope_context`. Pairs below `rope_slow`
        are slowed down, pairs above `rope_fast` are not. llama3 uses 1 and 4, yarn 1
        and 32.
      rope_magnitude: the factor of yarn's cosines and sines; 0 means
        0.1 * ln(rope_factor) + 1.
      window: how many positions a position sees, itself included; 0 means all.
      global_layers: the layers, counted from 0, that ignore `window`; ascending.
      qk_norm: whether each query head and key head is normalised.
      query_scalar: scores are divided by its square root; 0 means the head's width.
      attention_softcap: scores become softcap * tanh(score / softcap); 0 is off.
      activation: of the MLP, one of `zoo.layers.mlp.ACTIVATIONS`.
      gated: whether the MLP has a gate.
      qkv_bias, out_bias, mlp_bias, head_bias: which linear maps have a bias.
      tied_head: whether the head is the embedding table.
      logit_softcap: logits become softcap * tanh(logit / softcap); 0 is off.
      dropout: the rate after the embeddings, attention and the MLP; in [0, 1).
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
        """Checks the fields about windows."""
        layers = self.global_layers
        ordered = all(a < b for a, b in zip(layers, layers[1:], strict=False))
        if layers and not (ordered and 0 <= layers[0] and layers[-1] < self.layers):
            _refuse("global_layers", layers, f"some of 0 to {self.layers - 1} in order")
        for field in ("global_layers", "rope_local_theta"):
            value = getattr(self, field)
            if value and not self.window:
                _refuse(field, value, f"{type(value)()!r} without a window")

    def _check_rope(self):
        """Checks the fields about rotary positions."""
        if not self.rope_theta > 1:
            _refuse("rope_theta", self.rope_theta, "above 1")
        if 0 < self.rope_local_theta <= 1:
            _refuse("rope_local_theta", self.rope_local_theta, "0 or above 1")
        if not 0 < self.rotary_fraction <= 1 or self.rotary_width < 2:
            _refuse(
                "rotary_fraction",
                self.rotary_fraction,
                "from a pair to the whole head",
            )
        if self.rotary_width % 2:
            field = "head_width" if self.rotary_fraction == 1 else "rotary_fraction"
            raise ValueError(
                f"transformer_lm.{field}: {self.rotary_width} is odd; rotary positions "
                "rotate pairs of numbers."
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
    def feature_width(self) -> int:
        """The width of what the head reads."""
        return self.width

    @property
    def rotary_width(self) -> int:
        """How many numbers of each head are rotated."""
        return int(self.head_size * self.rotary_fraction)

    def is_local(self, layer: int) -> bool:
        """Whether a layer has the window."""
        return self.window > 0 and layer not in self.global_layers

    def scores(self, layer: int) -> attention.Scores:
        """How a layer computes its attention scores."""
        return attention.Scores(
            scale=self.query_scalar**-0.5 if self.query_scalar else 0.0,
            softcap=self.attention_softcap,
            window=self.window if self.is_local(layer) else 0,
        )

    def frequencies(self, local: bool = False):
        """The result of `rotary.frequencies`, for layers with a window if `local`."""
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
    """Raises the ValueError of a field; `allowed` are words."""
    raise ValueError(f"transformer_lm.{field}: {value!r}, {allowed} allowed.")
