"""Trains a model: python -m trainers.train --config=configs/X.py --workdir=W"""

import sys

from absl import flags

from trainers import run_flags
from zoo import command

_CONFIG = run_flags.define_config()
_WORKDIR = flags.DEFINE_string(
    "workdir", None, "The folder of the run; the same command continues it."
)


def main(argv):
    del argv
    run_config = run_flags.run_of(_CONFIG)
    with command.quiet_imports(keras=True):
        from trainers import loop, workdir

    if not _WORKDIR.value:
        raise ValueError("--workdir: missing; give a new or an empty folder.")
    with workdir.writing(_WORKDIR.value):
        result = loop.train(run_config, _WORKDIR.value)
    if result.interrupted:
        sys.exit(128 + result.interrupted)
    numbers = "  ".join(f"{k} {v:.6g}" for k, v in result.metrics.items())
    print(f"{_WORKDIR.value}: step {result.step}  {numbers}")


def run():
    run_flags.run_app(main)


if __name__ == "__main__":
    run()
