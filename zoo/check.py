"""Says whether stock TensorFlow can serve a SavedModel, and proves it by calling it.

    python -m zoo.check --saved_model=served/1

Exit code 0 means yes, 1 means no. It loads the artefact through TensorFlow's C API in
a process without Python TensorFlow and with XLA off, calls every signature, and looks
for ops, state and shapes that a stock server refuses or that change its answers.
"""

import json
import sys

from absl import app, flags

from zoo.saved_model import checker

_SAVED_MODEL = flags.DEFINE_string(
    "saved_model", None, "The folder with saved_model.pb.", required=True
)
_CALLS = flags.DEFINE_integer(
    "calls", 50, "How many calls watch the memory; 0 is none.", lower_bound=0
)
_REQUESTS = flags.DEFINE_string(
    "requests",
    None,
    "A JSON file of recorded requests and answers; by default the artefact's own.",
)
_TENSORFLOW = flags.DEFINE_string(
    "tensorflow", None, "The folder of another tensorflow package to run on."
)
_JSON = flags.DEFINE_bool("json", False, "Print the report as JSON.")


def main(argv: list[str]) -> None:
    """Checks, prints, and ends with the exit code."""
    if len(argv) > 1:
        raise app.UsageError(f"Unexpected arguments: {argv[1:]}")
    try:
        report = checker.check(
            _SAVED_MODEL.value, _CALLS.value, _REQUESTS.value, _TENSORFLOW.value
        )
    except ValueError as error:
        sys.exit(str(error))
    if _JSON.value:
        print(json.dumps(report.to_json(), indent=2))
    else:
        print("\n".join(report.lines()))
    sys.exit(not report.ok)


def run() -> None:
    """The console script."""
    app.run(main)


if __name__ == "__main__":
    run()
