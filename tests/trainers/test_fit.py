"""`model.fit` and our Step reach the same losses from the same start and data."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from trainers import optimizers
from trainers.objectives import LanguageModel
from trainers.run import Optimizer
from trainers.step import make_step
from zoo import models

STEPS, B, T, V = 20, 4, 8, 40
SIZES = {"vocab_size": V, "context": T, "width": 16, "layers": 1}


def built(name):
    keras.utils.set_random_seed(0)
    return models.build(
        name, **SIZES, **({"heads": 2} if "transf" in name else {"units": 16})
    )


@pytest.mark.parametrize("name", ["lstm_lm", "gru_lm", "transformer_lm"])
def test_fit_and_step_reach_the_same_losses(name):
    ids = np.random.default_rng(0).integers(0, V, (STEPS * B, T + 1)).astype("int32")
    model, strategy = built(name), tf.distribute.get_strategy()
    options = Optimizer(name="sgd", lr=0.5, decay="constant")
    optimizer = optimizers.build(options, STEPS, model.trainable_variables)
    variables = model.trainable_variables
    step = make_step(strategy, {"policy": model}, LanguageModel(), optimizer, variables)
    losses = []
    for part in np.split(ids, STEPS):
        batch = {
            "tokens": tf.constant(part[:, :-1]),
            "targets": tf.constant(part[:, 1:]),
            "weights": tf.ones((B, T)),
        }
        losses.append(float(step(batch)["loss"]))

    peer, sums = built(name), [0.0]
    peer.compile(
        keras.optimizers.SGD(0.5),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
    )

    class Record(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            sums.append(logs["loss"] * (batch + 1))  # logs hold the mean so far

    peer.fit(ids[:, :-1], ids[:, 1:], B, shuffle=False, verbose=0, callbacks=[Record()])
    np.testing.assert_allclose(np.diff(sums), losses, atol=1e-4)
    assert len(losses) == STEPS and np.ptp(losses) > 0.01
    for ours, theirs in zip(model.weights, peer.weights, strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-4)
