"""The log-probabilities that a model gives to the targets of a Batch."""

import numpy as np
import tensorflow as tf

import zoo
from trainers.objectives.logprobs import logprobs


def test_a_batch_gets_those_of_its_model():
    sizes = dict(vocab_size=300, context=8, width=16, layers=1, heads=2)
    model = zoo.build("transformer_lm", **sizes, logit_softcap=2.0)
    tokens = np.random.default_rng(0).integers(0, 300, (2, 8), np.int32)
    batch = {"tokens": tf.constant(tokens), "targets": tf.roll(tokens, -1, 1)}
    logp, entropy = logprobs(model, batch, False, temperature=0.5)
    log_p = tf.nn.log_softmax(model(batch["tokens"]) / 0.5)
    wanted = tf.gather(log_p, batch["targets"], batch_dims=2)
    np.testing.assert_allclose(logp, wanted, rtol=1e-5)
    np.testing.assert_allclose(entropy, -np.sum(np.exp(log_p) * log_p, -1), rtol=1e-5)
