"""Trains as trainers.train does, but dies where a folder is half written.

python tests/trainers/killed_at.py N --config=... kills itself, as hard as kill -9, just
before it brings something to disk or renames something for the N-th time.
"""

import os
import signal
import sys

left = int(sys.argv.pop(1))


def deadly(function):
    def call(*args, **kwargs):
        global left
        left -= 1
        if left == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        return function(*args, **kwargs)

    return call


os.fsync, os.rename = deadly(os.fsync), deadly(os.rename)

if __name__ == "__main__":
    from trainers import train

    train.run()
