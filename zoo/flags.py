"""Runs an absl command and turns errors of input into one line."""

import sys

from absl import app, logging


def run_app(main) -> None:
    """`app.run(main)`; a ValueError becomes "error: ..." and exit code 1."""

    def guarded(argv):
        try:
            if len(argv) > 1:
                raise ValueError(f"Unknown argument {argv[1]!r}; flags begin with --.")
            # TensorFlow's savers talk at the level of INFO
            logging.set_verbosity(logging.WARNING)
            return main(argv)
        except ValueError as error:
            print(f"error: {error}", file=sys.stderr)
            sys.exit(1)

    app.run(guarded)
