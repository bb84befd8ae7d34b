"""The public API: what `import zoo` offers, by its own example."""

import doctest
import subprocess
import sys

import numpy as np
import pytest

import zoo


def test_the_example_runs(tmp_path):
    names = {"folder": tmp_path / "model"}
    test = doctest.DocTestParser().get_doctest(zoo.__doc__, names, "zoo", None, 0)
    assert len(test.examples) >= 7
    result = doctest.DocTestRunner().run(test)
    assert result.failed == 0


def test_every_name_is_there():
    for name in dir(zoo):
        assert getattr(zoo, name) is not None
        assert name in zoo.__all__
    assert {"load", "save", "build", "names", "decode"} <= set(dir(zoo))


PROGRAM = """
import sys
import keras
import zoo
print(type(keras.models.load_model(sys.argv[1])).__name__)
"""


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
def test_keras_loads_our_models_after_import_zoo(tmp_path):
    model = zoo.build("dense_net", features=2, classes=2)
    model(np.zeros((1, 2), np.float32))
    path = str(tmp_path / "net.keras")
    model.save(path)
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, path], capture_output=True, text=True
    )
    assert done.stdout.split() == ["DenseNet"], done.stderr
