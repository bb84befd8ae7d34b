"""Two steps of contrastive learning on one and on two devices: prints JSON."""

import json

import keras
import numpy as np
import tensorflow as tf

cpu = tf.config.list_physical_devices("CPU")
tf.config.set_visible_devices([], "GPU")
tf.config.set_logical_device_configuration(
    cpu[0], [tf.config.LogicalDeviceConfiguration()] * 2
)

from trainers import optimizers  # noqa: E402
from trainers import strategy as strategy_lib  # noqa: E402
from trainers.objectives import Contrastive  # noqa: E402
from trainers.run import Data, Optimizer, Run  # noqa: E402
from trainers.step import make_step  # noqa: E402
from zoo import registry  # noqa: E402
from zoo.data import batches  # noqa: E402
from zoo.models import text_encoder  # noqa: E402

CONFIG = text_encoder.Config(vocab_size=60, context=16, width=16, layers=1, heads=2)


def numbers(replicas):
    """The metrics of each step, and the weights at the end."""
    keras.utils.set_random_seed(0)
    objective = Contrastive(symmetric=True)
    run = Run(model=CONFIG, objective=objective, data=Data(batch=8), replicas=replicas)
    strategy = strategy_lib.make_strategy(run)
    with strategy.scope():
        model = registry.build_config(CONFIG)
        variables = model.trainable_variables
        optimizer = optimizers.build(Optimizer(name="sgd", lr=0.1), 2, variables)
    step = make_step(
        strategy, {"policy": model}, objective, optimizer, variables, 1, 0.5
    )
    rng = np.random.default_rng(0)
    lengths = rng.integers(2, 12, 60)
    groups = np.cumsum([0, *([2, 3] * 12)])  # every second one has a hard negative
    starts = np.cumsum([0, *lengths])
    tokens = rng.integers(0, 60, starts[-1]).astype(np.int32)
    dataset = batches.pair_batches(tokens, starts, groups, 8, seed=0)
    iterator = strategy_lib.distribute(strategy, dataset)
    metrics = [step(next(iterator)) for _ in range(2)]
    flat = np.concatenate([np.ravel(v.value.numpy()) for v in variables])
    names = ("loss", "accuracy", "grad_norm")
    found = {name: [float(m[name]) for m in metrics] for name in names}
    return {**found, "weights": flat.tolist()}


if __name__ == "__main__":
    print(json.dumps({replicas: numbers(replicas) for replicas in (1, 2)}))
