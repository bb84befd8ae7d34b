"""Exports a model directory: python -m zoo.export --model=DIR --output=BASE"""

from absl import flags

from zoo import command

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


def main(argv):
    del argv
    with command.quiet_imports():
        from zoo import directory
        from zoo.saved_model import writer

    folder = writer.write(
        _OUTPUT.value,
        directory.load(_MODEL.value),
        _VERSION.value,
        _BATCH.value,
        _CAPACITY.value,
    )
    print(folder)


def run():
    command.run_app(main)


if __name__ == "__main__":
    run()
