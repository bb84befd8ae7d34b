"""What the installed TensorFlow exports answers on releases before it.

    python -m pytest -m long tests/zoo/saved_model/test_older_release.py

Downloads each release: about 250 MB.
"""

import subprocess
import sys

import pytest

from zoo import registry
from zoo.directory import GenerationConfig, Loaded
from zoo.saved_model import checker, writer


@pytest.mark.long
@pytest.mark.parametrize("release", ["2.14.1", "2.16.2", "2.18.1", "2.20.0"])
@pytest.mark.parametrize("batch", [0, 4])
def test_older(release, batch, tmp_path, tokenizer):
    model = registry.build(
        "transformer_lm", vocab_size=300, context=96, width=32, layers=1, heads=2
    )
    folder = writer.write(
        tmp_path, Loaded(model, tokenizer, GenerationConfig()), batch=batch
    )
    target = tmp_path / "older"
    command = [sys.executable, "-m", "pip", "install", "-q", "--no-deps"]
    command += [f"--target={target}", f"tensorflow-cpu=={release}"]
    subprocess.run(command, check=True)
    report = checker.check(str(folder), tensorflow=str(target / "tensorflow"))
    assert report.ok, report.lines()
    assert report.tensorflow == release
    assert any(result.check == "requests" for result in report.results)
