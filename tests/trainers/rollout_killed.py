"""The whole run of test_rollouts, which kills itself as hard as kill -9 does.

python tests/trainers/rollout_killed.py MODEL PROMPTS FOLDER rollout|save
"""

import os
import pathlib
import signal
import sys

sys.path.insert(0, str(pathlib.Path(__file__).parent))

import test_rollouts  # noqa: E402

from trainers import checkpoint, loop, objectives  # noqa: E402
from trainers.rollouts import rollouts  # noqa: E402


def die(*_):
    os.kill(os.getpid(), signal.SIGKILL)


def in_save(*args, save=checkpoint.save):
    os.fsync = die  # all files are written by then; the folder has no name yet
    save(*args)


if __name__ == "__main__":
    model, prompts, folder, where = sys.argv[1:]
    if where == "rollout":
        rollouts.Rollouts.score = die  # the answers are sampled by then
    else:
        checkpoint.save = in_save
    objectives.BY_NAME["reinforce"] = test_rollouts.Reinforce
    loop.train(test_rollouts.whole_run(model, prompts), folder)
