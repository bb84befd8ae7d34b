"""Text-only CausalLMs of KerasHub as a language model of the zoo.

The layers are KerasHub's own, so its models that have no counterpart here can be
trained and can generate. They cannot be exported: their caches are written by an XLA
operation, which a stock TF Serving refuses.
"""

import dataclasses
import inspect
import re
from typing import Any, ClassVar

import keras
import tensorflow as tf

from zoo import registry, shapes
from zoo.fields import at_least, check_fraction, one_of, suggest

# Each was seen to answer the same with its cache as without. GPT-NeoX does not: its
# cached step turns queries and keys as if they stood at position 0 (keras-hub 0.32).
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
    """The shape of the model.

    Attributes:
      kind: whose backbone, one of `KINDS`: "OPT" is `keras_hub.models.OPTBackbone`.
      settings: the arguments of the backbone by KerasHub's names: numbers, strings,
        None and lists of these; without `dropout`.
      context: the most positions; KerasHub itself knows it of a few kinds only.
      dropout: the backbone's argument of this name, where it has one.
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
            for one in value if isinstance(value, list | tuple) else [value]:
                if one is not None and type(one) not in (bool, int, float, str):
                    raise ValueError(
                        f"keras_hub.settings.{name}: {one!r:.80}; a number, a string, "
                        "None or a list of them allowed."
                    )
        for name in ("vocabulary_size", "num_layers", "hidden_dim"):
            if type(self.settings.get(name)) is not int:
                raise ValueError(
                    f"keras_hub.settings.{name}: {self.settings.get(name)!r:.80}, a "
                    "whole number allowed."
                )
        for name in ("dtype", "dropout"):
            if name in self.settings:
                raise ValueError(f"keras_hub.settings.{name}: is not a setting here.")
        most = self.settings.get("max_sequence_length", self.context)
        if type(most) is int and most < self.context:
            raise ValueError(
                f"keras_hub.context: {self.context}, at most "
                f"settings.max_sequence_length {most} allowed."
            )

    @property
    def vocab_size(self) -> int:
        """V."""
        return self.settings["vocabulary_size"]

    @property
    def layers(self) -> int:
        """The number of layers."""
        return self.settings["num_layers"]

    @property
    def width(self) -> int:
        """D."""
        return self.settings["hidden_dim"]

    @property
    def logit_softcap(self) -> float:
        """Logits become softcap * tanh(logits / softcap); 0 is off."""
        return self.settings.get("final_logit_soft_cap") or 0.0


@keras.saving.register_keras_serializable(package="zoo")
class KerasHubLM(registry.ConfigSerializable, keras.Model):
    """Maps `tokens_BT` to `logits_BTV`, and offers the Decoder protocol.

    The state of the Decoder is each row's position, then KerasHub's cache: one tensor
    [B, layers, 2, S, heads, head width], or keys and values [B, S, heads, head width]
    by layer.
    """

    def __init__(self, config: Config, **kwargs):
        super().__init__(**kwargs)
        self.config = config
        self.causal_lm = _causal_lm(config)
        variables = self.causal_lm.backbone.weights
        # by which model directories name them
        for variable, path in zip(variables, paths(variables), strict=True):
            variable._path = path
        self.built = True

    @property
    def limit(self) -> int:
        """The most positions that it can see."""
        return self.config.context

    def call(self, tokens_BT, training=False):
        """Float32 logits [B, T, V]; position t has seen tokens 0..t."""
        return self.logits(self.features(tokens_BT, training))

    def features(self, tokens_BT, training=False):
        """What the head sees: [B, T, D] in the compute dtype."""
        shapes.check("tokens", tokens_BT, "BT")
        tokens_BT = tf.cast(tokens_BT, tf.int32)
        # padding is on the right, where a causal model does not look
        inputs = {"token_ids": tokens_BT, "padding_mask": tf.ones_like(tokens_BT)}
        return self.causal_lm.backbone(inputs, training=training)

    def logits(self, x):
        """Float32 logits [..., V] of features [..., D]."""
        embedding = self.causal_lm.backbone.token_embedding
        return tf.cast(embedding(x, reverse=True), tf.float32)

    def head(self):
        """The head's float32 weight [V, D], and None in the place of a bias."""
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

        def with_room(x):  # [..., S, heads, head width]
            before = [(0, 0)] * (x.shape.rank - 3)
            return tf.pad(x, [*before, (0, capacity - T), (0, 0), (0, 0)])

        state = [with_room(x) for x in tf.nest.flatten(cache)]
        return self.logits(last_BD), [tf.identity(lengths_B), *state]

    def step(self, token_B, state, in_place=False):
        """Reads one more token a row; see `TransformerLM.step`.

        KerasHub writes a whole batch at one position: rows that stand at different
        ones are computed one after the other.
        """
        del in_place
        position_B, *caches = state

        def move(token_B1, position, *caches):
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

        def alone(row):
            token, position, *caches = row
            out = move(token[None, None], position, *[x[None] for x in caches])
            return [x[0] for x in out]

        def apart():
            kinds = [tf.float32, *[x.dtype for x in caches]]
            return tf.map_fn(alone, [token_B, position_B, *caches], kinds)

        same = tf.reduce_all(position_B == position_B[0])
        logits_BV, *new = tf.cond(
            same, lambda: move(token_B[:, None], position_B[0], *caches), apart
        )
        logits_BV.set_shape([None, self.config.vocab_size])
        for x, old in zip(new, caches, strict=True):
            x.set_shape(old.shape)
        return logits_BV, [position_B + 1, *new]


def paths(variables) -> list[str]:
    """The paths of a backbone's variables, the same in every process.

    Where KerasHub gives a layer no name, Keras numbers all of its class that were ever
    made. Here the numbers count the layers of one name inside of one parent.
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
    except Exception as error:  # of Keras: a setting that is missing, unknown or odd
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
)
