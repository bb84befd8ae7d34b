"""A run of GRPO on one and on two devices: prints JSON for test_rollouts.py.

python tests/trainers/rollout_replicas.py MODEL PROMPTS FOLDER
"""

import json
import pathlib
import sys

import tensorflow as tf

cpu = tf.config.list_physical_devices("CPU")
tf.config.set_visible_devices([], "GPU")
tf.config.set_logical_device_configuration(
    cpu[0], [tf.config.LogicalDeviceConfiguration()] * 2
)

from trainers import loop  # noqa: E402
from trainers.objectives import GRPO  # noqa: E402
from trainers.run import Data, Optimizer, Run  # noqa: E402


def logged(model, prompts, folder, replicas):
    """The metrics of each step."""
    run = Run(
        objective=GRPO(
            samples=2,
            minibatches=2,
            max_new_tokens=6,
            rewards=("1 contains:a", "0.1 length:3"),
            kl_coefficient=0.1,
        ),
        data=Data(
            source=f"jsonl:{prompts}",
            format="prompts",
            fields=("prompt=question",),
            batch=4,
            hold_out=0.0,
        ),
        # Adam would make a step of the rounding errors of a gradient that is 0
        optimizer=Optimizer(name="sgd", lr=0.1, decay="constant"),
        init_from=model,
        replicas=replicas,
        steps=4,
        save_every=2,
        log_every=1,
    )
    place = pathlib.Path(folder) / str(replicas)
    loop.train(run, place)
    return [json.loads(row) for row in (place / "metrics.jsonl").open()]


if __name__ == "__main__":
    print(json.dumps({n: logged(*sys.argv[1:], n) for n in (1, 2)}))
