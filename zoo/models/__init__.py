"""The models. Importing this package fills the registry.

A new model is one file with a call of `registry.register`, and one line here. `build`
and `names` are those of the registry.
"""

from zoo.models import (
    bag_of_words,
    dense_net,
    encoder_decoder,
    headed,
    keras_hub_lm,
    recurrent_encoder_decoder,
    recurrent_lm,
    text_cnn,
    text_encoder,
    transformer_lm,
)
from zoo.registry import build, names

__all__ = [
    "bag_of_words",
    "build",
    "dense_net",
    "encoder_decoder",
    "headed",
    "keras_hub_lm",
    "names",
    "recurrent_encoder_decoder",
    "recurrent_lm",
    "text_cnn",
    "text_encoder",
    "transformer_lm",
]
