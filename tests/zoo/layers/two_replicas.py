"""The masks of Dropout on two devices: prints JSON for test_dropout.py."""

import json

import keras
import tensorflow as tf

cpu = tf.config.list_physical_devices("CPU")
tf.config.set_visible_devices([], "GPU")
tf.config.set_logical_device_configuration(
    cpu[0], [tf.config.LogicalDeviceConfiguration()] * 2
)

from zoo.layers.dropout import Dropout  # noqa: E402

keras.utils.set_random_seed(3)
devices = [d.name for d in tf.config.list_logical_devices("CPU")]
strategy = tf.distribute.MirroredStrategy(devices)
with strategy.scope():
    layer = Dropout(0.5)


@tf.function(autograph=False)
def step(x):
    return strategy.run(lambda x: layer(x, training=True), (x,))


found = []
for _ in range(3):
    parts = strategy.experimental_local_results(step(tf.ones([4, 8])))
    found.append([(part.numpy() > 0).ravel().tolist() for part in parts])
states = strategy.experimental_local_results(layer.seed_generator.state.value)
print(json.dumps({"masks": found, "states": [s.numpy().tolist() for s in states]}))
