"""docs/keras_fit.md: its example runs, and its data set has autotuning off."""

import pathlib
import re

PAGE = pathlib.Path(__file__).parents[3] / "docs/keras_fit.md"


def test_the_example_runs(commands, tmp_path):
    (source,) = re.findall(r"```python\n(.*?)```", PAGE.read_text("utf-8"), re.DOTALL)
    check = "assert not dataset.options().autotune.enabled\nprint('losses are finite'"
    check += " if np.isfinite(model.evaluate(dataset)) else 'no')\n"
    script = tmp_path / "page.py"
    script.write_text(source + check, encoding="utf-8")
    done = commands(script)
    assert done.code == 0 and "losses are finite" in done.out, done.out
