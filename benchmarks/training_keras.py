"""The peers of `benchmarks.training` in its own environment, with our weights."""

import keras
import numpy as np
from keras_hub import models


def keras_hub(model):
    """KerasHub's GPT-2 with our weights."""
    c = model.config
    backbone = models.GPT2Backbone(
        vocabulary_size=c.vocab_size,
        num_layers=c.layers,
        num_heads=c.heads,
        hidden_dim=c.width,
        intermediate_dim=4 * c.width,
        max_sequence_length=c.context,
        dropout=0.0,
    )
    embeddings = [model.embedding.weight, model.position.weight]
    tables = [v for v in backbone.variables if v.path.endswith("embeddings")]
    for theirs, ours_ in zip(tables, embeddings, strict=True):
        theirs.assign(ours_)
    d = c.head_size
    for i, block in enumerate(model.blocks):
        attention, mlp = block.attention, block.mlp
        qkv = np.split(np.asarray(attention.qkv.weight).T, 3, 1)
        values = [[block.attention_norm.scale, block.attention_norm.bias]]
        values += [
            [w.reshape(c.width, c.heads, d), np.zeros((c.heads, d))] for w in qkv
        ]
        out = np.asarray(attention.out.weight).T.reshape(c.heads, d, c.width)
        values += [
            [out, attention.out.bias],
            [block.mlp_norm.scale, block.mlp_norm.bias],
        ]
        values += [[np.asarray(x.weight).T, x.bias] for x in (mlp.up, mlp.down)]
        layer = backbone.get_layer(f"transformer_layer_{i}")
        kernels = {tuple(v.path.split("/")[-2:]): v for v in layer.variables}
        names = [
            ("self_attention_layer_norm", "gamma", "beta"),
            ("query", "kernel", "bias"),
            ("key", "kernel", "bias"),
            ("value", "kernel", "bias"),
            ("attention_output", "kernel", "bias"),
            ("feedforward_layer_norm", "gamma", "beta"),
            ("feedforward_intermediate_dense", "kernel", "bias"),
            ("feedforward_output_dense", "kernel", "bias"),
        ]
        for (part, *roles), pair in zip(names, values, strict=True):
            for role, value in zip(roles, pair, strict=True):
                kernels[part, role].assign(value)
    return models.GPT2CausalLM(backbone=backbone, preprocessor=None)


def keras_lstm(model):
    """A Keras Sequential with our weights."""
    vocabulary = model.config.vocab_size
    peer = keras.Sequential(
        [
            keras.Input((None,), dtype="int32"),
            keras.layers.Embedding(vocabulary, 512),
            keras.layers.LSTM(512, return_sequences=True),
            keras.layers.LSTM(512, return_sequences=True),
            keras.layers.Dense(vocabulary),
        ]
    )
    weights = [np.asarray(v) for v in model.weights]
    weights[-2] = weights[-2].T
    peer.set_weights(weights)
    return peer
