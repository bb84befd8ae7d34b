"""A student that learns from a teacher, beside the same student without one.

    python -m benchmarks.distillation [--teacher=runs/demo/model]

Without --teacher, the model of configs/lm_transformer.py is trained first, for
--teacher_steps. Both students are the model of configs/distill.py with the same seed,
batches, optimizer and number of steps. The one learns the mix of that config, the other
the target tokens alone. Each predicts every token of the test books once. The intervals
and the paired difference are of 1,000 bootstrap resamples of windows at 95 %.
"""

import dataclasses
import math
import pathlib
import tempfile
import time

import numpy as np
import tensorflow as tf
from absl import flags

from zoo import command

with command.quiet_imports():
    from configs import distill, lm_transformer
    from trainers import loop
    from trainers.objectives import LanguageModel
    from trainers.run_flags import run_app
    from zoo import directory
    from zoo.data import batches, formats, sources
    from zoo.metrics import bootstrap

_TEACHER = flags.DEFINE_string("teacher", "", "A model directory.")
_TEACHER_STEPS = flags.DEFINE_integer("teacher_steps", 1200, "Where there is none.")
_STEPS = flags.DEFINE_integer("steps", 0, "Of each student; 0 is the config's number.")

_SPLIT, _ROWS = "test", 16


def main(argv):
    """Trains the models and prints their losses and the difference."""
    del argv
    with tempfile.TemporaryDirectory() as temporary:
        folder = pathlib.Path(temporary)
        teacher = _TEACHER.value or trained(teacher_run(), folder / "teacher")
        run = without_evaluation(distill.get_config())
        run.steps = _STEPS.value or run.steps
        run.objective.teacher = run.data.tokenizer = teacher
        alone = dataclasses.replace(run, objective=LanguageModel())
        alone_N2 = losses_of(trained(alone, folder / "alone"))
        distilled_N2 = losses_of(trained(run, folder / "distilled"))
        teacher_N2 = losses_of(teacher)
    losses = {
        "student alone": alone_N2,
        "distilled student": distilled_N2,
        "teacher": teacher_N2,
    }
    texts = sources.documents("kjv", _SPLIT)
    size = len("\n".join(texts).encode())
    for name, rows_N2 in losses.items():
        low, high = bootstrap.interval(rows_N2, bootstrap.ratio)
        bits = rows_N2[:, 0].sum() / math.log(2) / size
        print(
            f"{name:18}  {bootstrap.ratio(rows_N2):.4f} nats a token ({low:.4f} to "
            f"{high:.4f})  {bits:.4f} bits per byte"
        )
    change = bootstrap.paired(distilled_N2, alone_N2, bootstrap.ratio)
    print(
        f"distilled minus alone: {change.value:+.4f} nats a token ({change.low:+.4f} "
        f"to {change.high:+.4f}), p {change.p_value:.4f}"
    )


def teacher_run():
    """The Run of a new teacher."""
    run = without_evaluation(lm_transformer.get_config())
    run.steps = _TEACHER_STEPS.value
    return run


def without_evaluation(run):
    """The Run with the weights of its last step."""
    run.data.hold_out, run.eval_every, run.save_every = 0.0, 0, 0
    return run


def trained(run, workdir) -> str:
    """The model directory of a Run that is done now."""
    began = time.perf_counter()
    loop.train(run, workdir)
    seconds = time.perf_counter() - began
    print(f"{workdir.name}: {run.steps} steps in {seconds:.0f} s", flush=True)
    return str(workdir / "model")


def losses_of(path) -> np.ndarray:
    """The sum of the losses and the number of tokens of each window, [N, 2]."""
    model, tokenizer, _ = directory.load(path)
    if tokenizer is None:
        raise ValueError(f"{path} has no tokenizer.")
    stream = formats.language_model(sources.documents("kjv", _SPLIT), tokenizer)
    dataset, _ = batches.eval_windows(
        stream.tokens, model.config.context, _ROWS, weights=stream.weights
    )

    @tf.function(autograph=False)
    def sums(batch):
        loss_BT = tf.nn.sparse_softmax_cross_entropy_with_logits(
            batch["targets"], model(batch["tokens"])
        )
        weights_BT = batch["weights"]
        return tf.stack(
            [tf.reduce_sum(loss_BT * weights_BT, 1), tf.reduce_sum(weights_BT, 1)], 1
        )

    rows_N2 = np.concatenate([sums(batch).numpy() for batch in dataset])
    return rows_N2[rows_N2[:, 1] > 0].astype(np.float64)


if __name__ == "__main__":
    run_app(main)
