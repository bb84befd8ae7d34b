"""The command zoo.beam: what it refuses before Beam runs."""

import subprocess
import sys

import pytest

from zoo import beam


def test_pairs():
    assert beam.pairs("columns", ["prompt=a=b", "x="]) == {"prompt": "a=b", "x": ""}
    with pytest.raises(ValueError, match="--columns: 'prompt', name=value"):
        beam.pairs("columns", ["prompt"])


@pytest.mark.parametrize(
    "text, value", [("3", 3), ("0.5", 0.5), ('["\\n"]', ["\n"]), ("a b", "a b")]
)
def test_values(text, value):
    assert beam._value(text) == value


def test_refusals_need_no_tensorflow():
    code = "import sys; from zoo import beam; sys.exit('tensorflow' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
