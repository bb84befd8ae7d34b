"""A row of a padded batch gets the tokens that it gets alone."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from zoo import models
from zoo.decode import loop, sampling

MODELS = {
    "transformer_lm": {"heads": 2, "positions": "rotary"},
    "lstm_lm": {"units": 32},
    "gru_lm": {"units": 32},
}
ROWS = [[5, 6, 7, 8, 9, 10], [11, 12], [13, 14, 15]]
NEW = 7


def knobs(rows, temperature):
    values = {
        "max_new_tokens": tf.fill([rows], NEW),
        "temperature": tf.fill([rows], temperature),
        "top_k": tf.fill([rows], 20),
        "top_p": tf.fill([rows], 0.9),
        "min_p": tf.zeros([rows]),
        "repetition_penalty": tf.fill([rows], 1.3),
        "seed": tf.fill([rows], tf.constant(4, tf.int64)),
    }
    return sampling.Knobs(**values)


@pytest.mark.parametrize("temperature", [0.0, 1.0])
@pytest.mark.parametrize("name", MODELS)
def test_padding_changes_nothing(name, temperature):
    keras.utils.set_random_seed(0)
    sizes = {"vocab_size": 60, "context": 16, "width": 32, "layers": 2}
    model = models.build(name, **sizes, **MODELS[name])
    for weight in model.weights:  # far from uniform, so that the choice is clear
        weight.assign(weight * 8 if len(weight.shape) > 1 else weight)

    def run(rows, padding=0):
        longest = max(map(len, rows)) + padding
        tokens = np.full((len(rows), longest), 3, np.int32)
        for i, row in enumerate(rows):
            tokens[i, : len(row)] = row
        lengths = tf.constant(list(map(len, rows)))
        values = knobs(len(rows), temperature)
        out = loop.decode(model, tf.constant(tokens), lengths, values, end_ids=())
        return out.tokens.numpy()

    together = run(ROWS)
    np.testing.assert_array_equal(run(ROWS, padding=2), together)
    for i, row in enumerate(ROWS):
        np.testing.assert_array_equal(run([row])[0], together[i])
    assert together.shape == (3, NEW) and len(np.unique(together)) > 3
