"""What the Step computes on one and on two devices: prints JSON for test_step.py.

python tests/trainers/two_devices.py FOLDER CASE...
"""

import json
import sys

import keras
import numpy as np
import tensorflow as tf

cpu = tf.config.list_physical_devices("CPU")
tf.config.set_visible_devices([], "GPU")
tf.config.set_logical_device_configuration(
    cpu[0], [tf.config.LogicalDeviceConfiguration()] * 2
)

from trainers import evaluation, loop, optimizers  # noqa: E402
from trainers import strategy as strategy_lib  # noqa: E402
from trainers.objectives import (  # noqa: E402
    DPO,
    GRPO,
    PPO,
    Classify,
    LanguageModel,
)
from trainers.run import Data, Optimizer, Run  # noqa: E402
from trainers.step import make_step  # noqa: E402
from zoo import lora, registry  # noqa: E402
from zoo.lora_config import Lora  # noqa: E402
from zoo.models import dense_net, transformer_lm, value_model  # noqa: E402

PARTS = ((1, 1), (1, 4), (2, 1), (2, 2))  # replicas, accumulate
# each compilation takes seconds, and both ways to cut at once are the hardest case
PARTS_OF = dict.fromkeys(("lm", "dpo", "grpo", "ppo"), ((1, 1), (2, 2))) | {
    "kto": ((1, 1), (2, 1))  # which takes no accumulation
}
STEPS = 3
rng = np.random.default_rng(0)


def lm_batches():
    """Rows whose masks are far from equal: from one token to all, and none."""
    lengths = np.array([16, 1, 0, 9, 2, 16, 0, 3])
    for _ in range(STEPS):
        ids = rng.integers(0, 60, (8, 17)).astype(np.int32)
        weights = (np.arange(16) < lengths[:, None]).astype(np.float32)
        weights[3] *= 0.25
        yield {"tokens": ids[:, :-1], "targets": ids[:, 1:], "weights": weights}


def answer_batches():
    """Answers of a policy that has moved since, also beyond the clip."""
    for batch in lm_batches():
        mask = np.ceil(batch["weights"])
        old = -np.log(60) + rng.normal(0, 0.2, mask.shape)
        numbers = {
            "old_logprobs": old,
            "reference_logprobs": old + rng.normal(0, 0.2, mask.shape),
            "advantages": rng.normal(0, 1, (8, 1)) + 0 * old,
            "returns": rng.normal(0, 1, mask.shape),
            "old_values": rng.normal(0, 0.2, mask.shape),
        }
        yield (
            batch
            | {"weights": mask}
            | {name: (x * mask).astype(np.float32) for name, x in numbers.items()}
        )


def table_batches():
    for _ in range(STEPS):
        yield {
            "features": rng.normal(0, 1, (8, 5)).astype(np.float32),
            "label": rng.integers(0, 3, 8).astype(np.int32),
            "weights": np.array([1, 0, 0, 0, 0, 0, 2, 0.5], np.float32),
        }


def preference_batches():
    """Pairs of answers of far from equal lengths, of which two are absent."""
    prompts = np.array([2, 5, 1, 9, 3, 4, 2, 7])[:, None, None]
    lengths = np.array([[16, 9], [6, 16], [0, 0], [12, 11], [4, 5]] + [[8, 16]] * 3)
    lengths[6] = 0
    place = np.arange(16)
    for _ in range(STEPS):
        ids = rng.integers(0, 60, (8, 2, 17)).astype(np.int32)
        ids[:, 1, :1] = ids[:, 0, :1]
        learnt = (place >= prompts - 1) & (place < lengths[..., None])
        yield {
            "tokens": ids[..., :-1],
            "targets": ids[..., 1:],
            "weights": learnt.astype(np.float32),
            "lengths": lengths.astype(np.int32),
        }


LM = (
    transformer_lm.Config(vocab_size=60, context=16, width=16, layers=1, heads=2),
    LanguageModel(),
    # Adam would make a step of the rounding errors of a gradient that is 0
    Optimizer(name="sgd", lr=0.5, momentum=0.9),
    list(lm_batches()),
)


def answers(objective):
    return LM[0], objective, LM[2], list(answer_batches()), 0


CASES = {
    "grpo": answers(GRPO(kl_coefficient=0.1, kl_place="loss")),
    "ppo": answers(PPO()),
    "lm": (*LM, 0),
    "lm in all ways": (*LM, 0),
    "lora": (*LM, 2),
    "dpo": (LM[0], DPO(), LM[2], list(preference_batches()), 0),
    "kto": (LM[0], DPO(kind="kto", beta=1.0), LM[2], list(preference_batches()), 0),
    "table with penalties": (
        dense_net.Config(features=5, classes=3, widths=(4,), l1=0.01, l2=0.1),
        Classify(),
        Optimizer(lr=0.01, ema=0.6, scales=("*kernel=0.5",)),
        list(table_batches()),
        0,
    ),
}


def numbers(config, objective, options, batches, rank, replicas, accumulate):
    """The metrics of each step, the weights at the end, and those that are used.

    Above rank 0, adapters learn instead of the weights.
    """
    keras.utils.set_random_seed(0)
    run = Run(model=config, objective=objective, data=Data(batch=8), replicas=replicas)
    strategy = strategy_lib.make_strategy(run)
    with strategy.scope():
        model = registry.build_config(config)
        roles = {"policy": model}
        if "reference" in objective.needs:  # another model, so that both disagree
            roles["reference"] = registry.build_config(config)
            roles["reference"].trainable = False
        variables = model.trainable_variables
        if rank:
            lora.add(model, Lora(rank=rank))
            variables = lora.learning(model)
        if "critic" in objective.needs:
            roles["critic"] = value_model.put_beside(model, own_body=True)
            variables = variables + roles["critic"].trainable_variables
        paths = [v.path for v in variables]
        optimizer = optimizers.build(options, STEPS, variables, paths)
    step = make_step(strategy, roles, objective, optimizer, variables, accumulate, 0.5)
    dataset = tf.data.Dataset.from_generator(
        lambda: batches,
        output_signature={
            k: tf.TensorSpec(x.shape, x.dtype) for k, x in batches[0].items()
        },
    )
    if replicas > 1:
        dataset = strategy.experimental_distribute_dataset(dataset)
    metrics = [
        {name: float(value) for name, value in step(batch).items()} for batch in dataset
    ]

    def flat():
        return np.concatenate([np.ravel(v.value.numpy()) for v in variables]).tolist()

    weights = flat()
    with optimizers.averaged(optimizer, variables):
        return {"metrics": metrics, "weights": weights, "used": flat()}


def trained(folder, replicas):
    """The loop itself, begun and gone on with, under one strategy."""
    run = Run(
        model=dense_net.Config(features=30, classes=2, widths=(4,), dropout=0.1),
        objective=Classify(),
        optimizer=Optimizer(ema=0.9),
        data=Data(source="sklearn:breast_cancer", batch=8, hold_out=0.2),
        steps=6,
        replicas=replicas,
        log_every=3,
        eval_every=3,
        save_every=2,
    )
    loop.train(run, folder)
    (folder / "checkpoints/00000006/state.safetensors").write_bytes(b"damaged")
    first = (folder / "model/model.safetensors").read_bytes()
    loop.train(run, folder)
    return first == (folder / "model/model.safetensors").read_bytes()


def masks():
    """What two replicas drop, before and after a restart; and the states stored."""
    strategy = strategy_lib.make_strategy(
        Run(model=None, objective=None, data=Data(batch=2), replicas=2)
    )
    with strategy.scope():
        layer = keras.layers.Dropout(0.5, seed=3)
    (state,) = layer.variables

    def drawn():
        strategy_lib.separate_random_streams(strategy, [state])
        ones = tf.ones(64)
        run = tf.function(lambda: layer(ones, training=True))
        out = strategy.experimental_local_results(strategy.run(run))
        return [x.numpy().tolist() for x in out]

    first, stored = drawn(), state.value.numpy()
    second = drawn()
    state.assign(stored)
    return [first, second, drawn()]


def rows_at_once():
    """The rows of an evaluation batch with all devices, one, and two."""
    data = Data(batch=8)
    return [
        evaluation.rows_at_once(
            Run(model=None, objective=None, data=data, replicas=replicas)
        )
        for replicas in (0, 1, 2)
    ]


if __name__ == "__main__":
    import pathlib

    result = {
        name: {
            f"{r} x {a}": numbers(*CASES[name], r, a)
            for r, a in PARTS_OF.get(name, PARTS)
        }
        for name in sys.argv[2:]
    }
    if "lm" in result:
        result["masks"] = masks()
        result["rows at once"] = rows_at_once()
        result["resumed"] = trained(pathlib.Path(sys.argv[1]) / "two", 2)
    print(json.dumps(result))
