"""No data set of ours has autotuning on, so that none reports its end late.

If autotuning is on, TensorFlow 2.21 reports the end of a finite data set late: at 10 ms
x (2^k - 1) after the start, up to twice the time that the data set took.
"""

import ast
import pathlib

import numpy as np
import tensorflow as tf

from benchmarks import training

ROOT = pathlib.Path(__file__).parents[3]


def test_the_benchmark_times_no_end():
    dataset = training._endless(np.arange(50), 2)
    assert dataset.cardinality() == tf.data.INFINITE_CARDINALITY
    assert dataset.options().autotune.enabled is False


def makers(tree):
    """The functions that make a data set, and whether each is switched off."""
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef):
            calls = [ast.unparse(n) for n in ast.walk(node) if isinstance(n, ast.Call)]
            if any("data.Dataset." in c or "as_dataset(" in c for c in calls):
                text = ast.unparse(node)
                off = "autotune.enabled = False" in text or "_pipeline(" in text
                yield node.name, off


def test_every_function_that_makes_a_data_set_switches_it_off():
    found = {
        f"{path.relative_to(ROOT)}: {name}": off
        for folder in ("zoo", "trainers", "configs", "benchmarks")
        for path in sorted((ROOT / folder).rglob("*.py"))
        for name, off in makers(ast.parse(path.read_text(encoding="utf-8")))
    }
    assert len(found) >= 4, found
    assert [where for where, off in found.items() if not off] == []


def test_the_rule_sees_a_data_set():
    source = "def f():\n    return tf.data.Dataset.range(3)"
    assert list(makers(ast.parse(source))) == [("f", False)]
    source = "def f(b):\n    return tfds.as_numpy(b.as_dataset(split='x'))"
    assert list(makers(ast.parse(source))) == [("f", False)]
