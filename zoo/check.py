"""Tests whether stock TensorFlow can serve a SavedModel, by calling it.

    python -m zoo.check --saved_model=served/1

Exit code 0 means yes, 1 means no. A process without Python TensorFlow loads the
SavedModel through TensorFlow's C API with XLA off, and calls every signature. The check
also looks for ops, state and shapes that a stock server refuses or that change answers.
"""

import json
import sys

from absl import flags

from zoo import command
from zoo.saved_model import checker

_SAVED_MODEL = flags.DEFINE_string(
    "saved_model", None, "The folder with saved_model.pb.", required=True
)
_CALLS = flags.DEFINE_integer(
    "calls",
    50,
    "The calls during which the memory is measured; 0 is off.",
    lower_bound=0,
)
_REQUESTS = flags.DEFINE_string(
    "requests",
    None,
    "A JSON file of recorded requests and answers; by default the SavedModel's own.",
)
_TENSORFLOW = flags.DEFINE_string(
    "tensorflow", None, "The folder of another tensorflow package to run on."
)
_JSON = flags.DEFINE_bool("json", False, "Print the report as JSON.")


def main(argv: list[str]) -> None:
    """Checks, prints, and ends with the exit code."""
    del argv
    report = checker.check(
        _SAVED_MODEL.value, _CALLS.value, _REQUESTS.value, _TENSORFLOW.value
    )
    if _JSON.value:
        print(json.dumps(report.to_json(), indent=2))
    else:
        print("\n".join(report.lines()))
    sys.exit(not report.ok)


def run() -> None:
    """The console script."""
    command.run_app(main)


if __name__ == "__main__":
    run()
