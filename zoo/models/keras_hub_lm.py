"""Text-only CausalLMs of KerasHub as language models of the zoo.

The layers are those of KerasHub. So models of KerasHub that `transformer_lm` does not
cover can be trained and can generate text. They cannot be exported: KerasHub writes its
cache by an XLA operation, which TF Serving refuses.
"""

import dataclasses
import inspect
import re
from typing import Any, ClassVar, cast

import keras
import tensorflow as tf

from zoo import registry, shapes
from zoo.fields import at_least, check_fraction, one_of, suggest
from zoo.models.language_model import LanguageModel

# Tests compare each kind with its cache and without. GPT-NeoX is left out: its cached
# step rotates queries and keys as if they were at position 0 (keras-hub 0.32).
KINDS = (
    "Bloom",
    "Falcon",
    "Gemma",
    "Gemma3",
    "GptOss",
    "Mixtral",
    "OPT",
    "Phi3",
    "Qwen3Moe",
    "QwenMoe",
)


@dataclasses.dataclass(kw_only=True, slots=True)
class Config:
    """The fields of the model.

    Attributes:
      kind: the backbone, one of `KINDS`: "OPT" is `keras_hub.models.OPTBackbone`.
      settings: the arguments of the backbone by KerasHub's names: numbers, strings,
        None and lists of these; without `dropout`.
      context: the largest number of positions. Few backbones of KerasHub state it.
      dropout: the backbone's argument of this name, if it has one; in [0, 1).
    """

    task: ClassVar[str] = "generate"
    reads: ClassVar[str] = "text"

    kind: str = "OPT"
    settings: Any = dataclasses.field(
        default_factory=lambda: {
            "vocabulary_size": 50272,
            "num_layers": 12,
            "num_heads": 12,
            "hidden_dim": 768,
            "intermediate_dim": 3072,
            "max_sequence_length": 2048,
        }
    )
    context: int = 2048
    dropout: float = 0.0

    def __post_init__(self):
        one_of("keras_hub.kind", self.kind, KINDS)
        at_least("keras_hub.context", self.context, 1)
        check_fraction("keras_hub.dropout", self.dropout)
        if not isinstance(self.settings, dict):
            raise ValueError(
                f"keras_hub.settings: {self.settings!r:.80}, an object allowed."
            )
        for name, value in self.settings.items():
            for item in value if isinstance(value, list | tuple) else [value]:
                if item is not None and type(item) not in (bool, int, float, str):
                    raise ValueError(
                        f"keras_hub.settings.{name}: {item!r:.80}; a number, a string, "
                        "None or a list of these allowed."
                    )
        for name in ("vocabulary_size", "num_layers", "hidden_dim"):
            if type(self.settings.get(name)) is not int:
                raise ValueError(
                    f"keras_hub.settings.{name}: {self.settings.get(name)!r:.80}, a "
                    "whole number allowed."
                )
        for name in ("dtype", "dropout"):
            if name in self.settings:
                raise ValueError(
                    f"keras_hub.settings.{name}: {self.settings[name]!r:.80}, not "
                    "allowed among settings."
                )
        most = self.settings.get("max_sequence_length", self.context)
        if type(most) is int and most < self.context:
            raise ValueError(
                f"keras_hub.context: {self.context}, at most "
                f"settings.max_sequence_length {most} allowed."
            )

    @property
    def vocab_size(self) -> int:
        """V, the number of token ids."""
        return self.settings["vocabulary_size"]

    @property
    def layers(self) -> int:
        """The number of layers."""
        return self.settings["num_layers"]

    @property
    def width(self) -> int:
        """D, the width of the features."""
        return self.settings["hidden_dim"]

    @property
    def logit_softcap(self) -> float:
        """Logits become softcap * tanh(logits / softcap); 0 is off."""
        return self.settings.get("final_logit_soft_cap") or 0.0


@keras.saving.register_keras_serializable(package="zoo")
class KerasHubLM(LanguageModel):
    """Maps `tokens_BT` to `logits_BTV`, and offers the Decoder protocol.

    The state of the Decoder is each row's position, then KerasHub's cache: one tensor
    [B, layers, 2, S, heads, head width], or keys and values [B, S, heads, head width]
    for each layer.
    """

    own_products = False

    def __init__(self, config: Config, **kwargs):
        super().__init__(config, **kwargs)
        self.causal_lm = _causal_lm(config)
        variables = self.causal_lm.backbone.weights
        # model directories name the variables by their paths
        for variable, path in zip(variables, paths(variables), strict=True):
            variable._path = path
        self.built = True

    def features(self, tokens_BT, training=False, segments_BT=None, positions_BT=None):
        """The input of the head: [B, T, D]; see `LanguageModel.features`.

        Raises:
          ValueError: there are segments or positions.
        """
        if segments_BT is not None or positions_BT is not None:
            raise ValueError(
                "keras_hub: cannot read packed rows, because KerasHub's attention sees "
                "the whole row."
            )
        shapes.check("tokens", tokens_BT, "BT")
        tokens_BT = tf.cast(tokens_BT, tf.int32)
        # a causal model does not read the padding, which is on the right
        inputs = {"token_ids": tokens_BT, "padding_mask": tf.ones_like(tokens_BT)}
        return self.causal_lm.backbone(inputs, training=training)

    def logits(self, x):
        """Float32 logits [..., V] of features [..., D]."""
        embedding = self.causal_lm.backbone.token_embedding
        return tf.cast(embedding(x, reverse=True), tf.float32)

    def head(self):
        """The head's float32 weight [V, D], and None: there is no bias."""
        embedding = self.causal_lm.backbone.token_embedding
        if embedding.tie_weights:
            weight_VD = embedding.embeddings.value
        else:
            weight_VD = tf.transpose(embedding.reverse_embeddings.value)
        return tf.cast(weight_VD, tf.float32), None

    def start(self, tokens_BT, lengths_B, capacity):
        """Reads prompts; see `TransformerLM.start`."""
        B, T = tf.unstack(tf.shape(tokens_BT))
        nothing = {}
        if self.config.kind == "Gemma3":
            names = "img_embeddings", "vision_mask", "padding_mask", "vision_indices"
            nothing = dict.fromkeys(names)
        x_BTD, cache = self.causal_lm._build_cache(tokens_BT, **nothing)
        last_BD = tf.gather(x_BTD, lengths_B - 1, batch_dims=1)

        def padded(x):
            """[..., S, heads, head width] with S = capacity."""
            before = [(0, 0)] * (x.shape.rank - 3)
            return tf.pad(x, [*before, (0, capacity - T), (0, 0), (0, 0)])

        state = [padded(x) for x in tf.nest.flatten(cache)]
        return self.logits(last_BD), [tf.identity(lengths_B), *state]

    def step(self, token_B, state, in_place=False):
        """Reads one more token of each row; see `TransformerLM.step`.

        KerasHub writes a whole batch at one position. If the positions of the rows
        differ, this method computes the rows one after the other.
        """
        del in_place
        position_B, *caches = state

        def advance(token_B1, position, *caches):
            """The logits and caches after a token of rows at the same position."""
            cache = caches[0]
            if self.config.kind == "Gemma3":
                cache = tuple(zip(caches[::2], caches[1::2], strict=True))
            logits_B1V, _, cache = self.causal_lm.call_with_cache(
                token_B1, cache, position
            )
            new = tf.nest.flatten(cache)
            for x, old in zip(new, caches, strict=True):
                x.set_shape(old.shape)
            return [tf.cast(logits_B1V[:, 0], tf.float32), *new]

        def advance_row(row):
            token, position, *caches = row
            out = advance(token[None, None], position, *[x[None] for x in caches])
            return [x[0] for x in out]

        def together():
            return advance(token_B[:, None], position_B[0], *caches)

        def row_by_row():
            dtypes = [tf.float32, *[x.dtype for x in caches]]
            return tf.map_fn(advance_row, [token_B, position_B, *caches], dtypes)

        same = tf.reduce_all(position_B == position_B[0])
        logits_BV, *new = cast(list, tf.cond(same, together, row_by_row))
        logits_BV.set_shape([None, self.config.vocab_size])
        for x, old in zip(new, caches, strict=True):
            x.set_shape(old.shape)
        return logits_BV, [position_B + 1, *new]


def paths(variables) -> list[str]:
    """The paths of a backbone's variables, equal in every process.

    Keras numbers layers without a name by class, over the whole process. The paths of
    this function number the layers of one name inside one parent: of the second model
    in a process, "dense_7/kernel" and "dense_8/kernel" become "dense/kernel" and
    "dense_1/kernel".
    """
    seen, found = {}, []
    for variable in variables:
        new = ""
        for part in variable.path.split("/"):
            name = re.sub(r"_\d+$", "", part)
            known = seen.setdefault((new, name), [])
            if part not in known:
                known.append(part)
            new = f"{new}/{name}_{known.index(part)}"
        found.append(new.removeprefix("/").replace("_0/", "/").removesuffix("_0"))
    return found


def _causal_lm(config):
    """Builds KerasHub's model of a Config; a ValueError says what it refuses."""
    try:
        import keras_hub
    except ImportError:
        raise ValueError(
            "keras_hub: needs the package keras-hub (pip install keras-hub)."
        ) from None
    kind = getattr(keras_hub.models, f"{config.kind}Backbone")
    settings, allowed = dict(config.settings), inspect.signature(kind).parameters
    if config.dropout or "dropout" in allowed:
        settings["dropout"] = config.dropout
    for name in settings:
        if name not in allowed:
            raise ValueError(
                f"Unknown field keras_hub.settings.{name} of {config.kind}."
                f"{suggest(name, allowed)}"
            )
    try:
        backbone = kind(**settings)
    except Exception as error:  # KerasHub raises many kinds for wrong settings
        first = (str(error).splitlines() or [""])[0]
        raise ValueError(
            f"keras_hub.settings: KerasHub cannot build {config.kind}: {first:.200}"
        ) from None
    task = getattr(keras_hub.models, f"{config.kind}CausalLM")

    class Uncompiled(task):
        def compile(self, *args, **kwargs):
            """Does nothing: KerasHub would make an optimizer and a sampler."""

    return Uncompiled(backbone=backbone, preprocessor=None)


registry.register(
    "keras_hub",
    Config,
    KerasHubLM,
    "a CausalLM of KerasHub",
    not_exported="its cache is written by an XLA operation, which servers refuse",
    own_layers=False,
)
