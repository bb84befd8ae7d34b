"""No data set of ours has autotuning on, so that none reports its end late.

TensorFlow 2.21 reports the end of a finite data set with autotuning at 10 ms x (2^k - 1)
after its start, up to twice as late as it was reached.
"""

import ast
import pathlib

import numpy as np
import pytest
import tensorflow as tf

from benchmarks import training
from zoo.data import batches

ROOT = pathlib.Path(__file__).parents[3]
TOKENS = np.arange(50)
TABLE = np.zeros((6, 2)), np.arange(6)
DATA_SETS = {
    "lm_batches": lambda: batches.lm_batches(TOKENS, 4, 2, seed=0),
    "eval_windows": lambda: batches.eval_windows(TOKENS, 4, 2)[0],
    "table_batches": lambda: batches.table_batches(*TABLE, 2, seed=0),
    "table_eval": lambda: batches.table_eval(*TABLE, 2)[0],
    "benchmarks.training": lambda: training._endless(TOKENS, 2),
}


@pytest.mark.parametrize("name", DATA_SETS)
def test_autotuning_is_off(name):
    assert DATA_SETS[name]().options().autotune.enabled is False


def test_the_benchmark_times_no_end():
    assert training._endless(TOKENS, 2).cardinality() == tf.data.INFINITE_CARDINALITY


def makers(tree):
    """The functions that make a data set, and whether each is switched off."""
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef):
            calls = [ast.unparse(n) for n in ast.walk(node) if isinstance(n, ast.Call)]
            if any("data.Dataset." in c or "as_dataset(" in c for c in calls):
                text = ast.unparse(node)
                yield node.name, "autotune.enabled = False" in text or (
                    "_pipeline(" in text
                )


def test_every_function_that_makes_a_data_set_switches_it_off():
    found = {
        f"{path.relative_to(ROOT)}: {name}": off
        for folder in ("zoo", "trainers", "configs", "benchmarks")
        for path in sorted((ROOT / folder).rglob("*.py"))
        for name, off in makers(ast.parse(path.read_text(encoding="utf-8")))
    }
    assert len(found) >= 4
    assert [where for where, off in found.items() if not off] == []


def test_the_rule_sees_a_data_set():
    source = "def f():\n    return tf.data.Dataset.range(3)"
    assert list(makers(ast.parse(source))) == [("f", False)]
    source = "def f(b):\n    return tfds.as_numpy(b.as_dataset(split='x'))"
    assert list(makers(ast.parse(source))) == [("f", False)]
