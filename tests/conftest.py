"""What many tests share: a small text, its tokenizer, and commands at no start-up."""

import json
import os
import pathlib
import random
import subprocess
import sys
from typing import NamedTuple

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import pytest  # noqa: E402

ROOT = pathlib.Path(__file__).parents[1]
VOCABULARY = 300


def pytest_configure(config):
    """Leaves the long proofs out unless they are asked for: -m long."""
    config.option.markexpr = config.option.markexpr or "not long"


def pytest_collection_modifyitems(items):
    """Puts behind all others the tests that switch XLA off for their process."""
    items.sort(key=lambda item: "saved_model" in item.path.parts)


def random_text(seed=0, lines=400):
    """Lines of words of ten letters: enough for a vocabulary of 300."""
    rng = random.Random(seed)
    words = ["".join(rng.choices("abcdefghij", k=rng.randint(2, 7))) for _ in range(60)]
    return "\n".join(" ".join(rng.choices(words, k=8)) for _ in range(lines))


@pytest.fixture(scope="session")
def corpus(tmp_path_factory):
    """A text file of 17 kB."""
    path = tmp_path_factory.mktemp("corpus") / "corpus.txt"
    path.write_text(random_text(), encoding="utf-8")
    return path


@pytest.fixture(scope="session")
def tokenizer():
    """A byte-level BPE of 300 tokens."""
    from zoo.text import tokenizer as tokenizers

    return tokenizers.train([random_text()], VOCABULARY)


@pytest.fixture
def float32():
    """Sets the dtype policy back after a test that changes it."""
    import keras

    yield
    keras.config.set_dtype_policy("float32")


class Done(NamedTuple):
    code: int
    out: str  # stdout and stderr

    @property
    def errors(self):
        return [line for line in self.out.splitlines() if line.startswith("error: ")]


class Commands:
    """Runs commands in processes forked from one that has TensorFlow imported."""

    def __init__(self, folder):
        self.folder, self.count = folder, 0
        self.server = subprocess.Popen(
            [sys.executable, str(ROOT / "tests/command_server.py")],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env={**os.environ, "PYTHONPATH": str(ROOT), "COLUMNS": "200"},
            cwd=ROOT,
            text=True,
        )
        self.outputs = {}

    def ask(self, **message):
        self.server.stdin.write(json.dumps(message) + "\n")
        self.server.stdin.flush()
        return json.loads(self.server.stdout.readline())

    def start(self, what, *args, cwd=""):
        """Starts a module, or a file that ends in .py; returns the process's id."""
        self.count += 1
        out = str(self.folder / f"{self.count}.out")
        kind = "file" if str(what).endswith(".py") else "module"
        args = [str(arg) for arg in args]
        pid = self.ask(**{kind: str(what), "args": args, "out": out, "cwd": str(cwd)})[
            "pid"
        ]
        self.outputs[pid] = pathlib.Path(out)
        return pid

    def wait(self, pid):
        code = self.ask(wait=pid)["code"]
        return Done(code, self.outputs[pid].read_text(encoding="utf-8"))

    def __call__(self, what, *args, cwd=""):
        return self.wait(self.start(what, *args, cwd=cwd))


@pytest.fixture(scope="session")
def commands(tmp_path_factory):
    """`commands("trainers.train", "--config=...") -> Done`."""
    started = Commands(tmp_path_factory.mktemp("commands"))
    yield started
    started.server.stdin.close()
    started.server.wait()
    started.server.stdout.close()
