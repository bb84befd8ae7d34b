"""Writes any pretrained model as a model directory, in float32:

python -m zoo.convert --source=HuggingFaceTB/SmolLM2-135M-Instruct --output=DIR
"""

from absl import flags

from zoo import directory
from zoo import flags as flags_lib
from zoo.directory import files

_SOURCE = flags.DEFINE_string(
    "source",
    None,
    "A model directory, a file *.gguf, *.keras or *.weights.h5, a folder with a "
    "checkpoint of TensorFlow, owner/name on the Hugging Face Hub, or keras_hub: and "
    "the name or folder of a preset.",
    required=True,
)
_OUTPUT = flags.DEFINE_string(
    "output", None, "A directory that is empty or not there.", required=True
)
_REVISION = flags.DEFINE_string(
    "revision", None, "Of the Hub: a branch, a tag or a commit."
)


def main(argv):
    del argv
    files.refuse_full(_OUTPUT.value)
    loaded = directory.load(_SOURCE.value, _REVISION.value)
    directory.save(_OUTPUT.value, *loaded)
    print(_OUTPUT.value)


def run():
    flags_lib.run_app(main)


if __name__ == "__main__":
    run()
