"""The scores of a rollout have the bits of the step that learns it."""

import numpy as np
import pytest
import tensorflow as tf

import zoo
from trainers.objectives import GRPO
from trainers.rollouts.scoring import Scorer

FAMILIES = {
    "gpt2": {"heads": 2},
    "llama": {
        "heads": 4,
        "kv_heads": 2,
        "norm": "rmsnorm",
        "positions": "rotary",
        "activation": "silu",
        "gated": True,
        "tied_head": False,
    },
    "softcap": {"heads": 2, "activation": "gelu_tanh", "logit_softcap": 3.0},
}
SIZES = {"vocab_size": 300, "context": 32, "width": 32, "layers": 2}
N, T, PART = 8, 24, 4


def model_of(name):
    tf.keras.utils.set_random_seed(0)
    model = zoo.build("transformer_lm", **SIZES, **FAMILIES[name])
    for i, v in enumerate(model.trainable_weights):
        noise = tf.random.stateless_normal(v.shape, [i, 7], stddev=0.2)
        v.assign(tf.convert_to_tensor(v.value) + noise)
    return model


def rollout():
    rng = np.random.default_rng(0)
    weights = np.zeros((N, T), np.float32)
    weights[:, 5:20] = 1
    return {
        "tokens": rng.integers(0, 300, (N, T)).astype(np.int32),
        "targets": rng.integers(0, 300, (N, T)).astype(np.int32),
        "lengths": np.full(N, 20, np.int32),
        "weights": weights,
    }


@pytest.mark.parametrize(
    "name, options",
    [
        ("gpt2", {"temperature": 0.7}),
        ("llama", {"temperature": 0.7}),
        ("softcap", {"temperature": 0.7}),
        ("llama", {"top_k": 20}),
    ],
)
def test_the_first_ratio_is_exactly_1(name, options):
    model, rows = model_of(name), rollout()
    objective = GRPO(samples=2, **options)
    order = np.random.default_rng(1).permutation(N)
    scores = Scorer({"policy": model}, objective, PART)(rows, order)
    variables = [v.value for v in model.trainable_variables]

    @tf.function(autograph=False)
    def step(batch):
        with tf.GradientTape() as tape:
            loss = objective.loss({"policy": model}, batch, training=True)
        return loss, tape.gradient(loss.sum, variables)

    for first in (0, PART):  # both parts of an accumulated batch
        part = order[first : first + PART]
        batch = {k: tf.constant(x[part]) for k, x in (rows | scores).items()}
        loss, _ = step(batch | {"advantages": batch["weights"]})
        # the mean of squares: not one token differs
        assert float(loss.metrics["approx_kl"][0]) == 0
        total, weight = loss.metrics["ratio"]
        assert float(total) == float(weight)
    before = tf.config.optimizer.get_experimental_options()
    assert before.get("arithmetic_optimization", True)
