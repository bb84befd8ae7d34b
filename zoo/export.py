"""Exports a model directory: python -m zoo.export --model=DIR --output=BASE"""

import dataclasses
import sys

from absl import flags

from zoo import command
from zoo.generation_config import MOST_BEAMS, MOST_DRAFTS

_MODEL = flags.DEFINE_string("model", None, "A model directory.", required=True)
_OUTPUT = flags.DEFINE_string(
    "output", None, "The folder of versions that TF Serving watches.", required=True
)
_VERSION = flags.DEFINE_integer("version", 0, "Its number; 0 is the next free one.")
_BATCH = flags.DEFINE_integer(
    "batch",
    0,
    "The most rows that the graph merges calls into; 0 is off.",
    lower_bound=0,
)
_CAPACITY = flags.DEFINE_integer(
    "capacity", 1024, "The positions in the state of start and step.", lower_bound=1
)
_MOST_NEW_TOKENS = flags.DEFINE_integer(
    "most_new_tokens",
    0,
    "The largest max_new_tokens of a request; 0 is the context.",
    lower_bound=0,
)
_BEAMS = flags.DEFINE_integer(
    "beams",
    None,
    "The most beams of a request; 0 leaves search out. By default that of "
    "generation_config.json for a language model, where it is above 1, and "
    f"{MOST_BEAMS} for an encoder-decoder.",
    lower_bound=0,
    upper_bound=MOST_BEAMS,
)
_SPECULATE = flags.DEFINE_integer(
    "speculate",
    None,
    "The most tokens that one pass checks where an answer repeats its text, in a batch "
    "of one row; 0 is off. By default prompt_lookup_num_tokens of "
    "generation_config.json, which is 0 there unless it was set.",
    lower_bound=0,
    upper_bound=MOST_DRAFTS,
)
_DATE = flags.DEFINE_string(
    "date_string",
    "",
    "The default date of chat, for a chat template with a date; empty is today.",
)
# the defaults of the exported signatures; by default those of generation_config.json
_KNOBS = command.define_knobs()


def main(argv):
    del argv
    command.suggest_model(_MODEL)
    with command.quiet_imports(keras=True):
        from zoo import directory
        from zoo.saved_model import writer

    def report(line):
        print(line, file=sys.stderr, flush=True)

    report(f"loading {_MODEL.value}")
    loaded = directory.load(_MODEL.value)
    generation = dataclasses.replace(loaded.generation, **command.given(_KNOBS))
    folder = writer.write(
        _OUTPUT.value,
        loaded._replace(generation=generation),
        _VERSION.value,
        _BATCH.value,
        _CAPACITY.value,
        _MOST_NEW_TOKENS.value,
        _DATE.value,
        report,
        _BEAMS.value,
        _SPECULATE.value,
    )
    print(folder)


def run():
    command.run_app(main)


if __name__ == "__main__":
    run()
