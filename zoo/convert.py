"""Converts a pretrained model to a model directory or a GGUF file, in float32.

python -m zoo.convert --source=HuggingFaceTB/SmolLM2-135M-Instruct --output=DIR
python -m zoo.convert --source=DIR --output=FILE.gguf --format=gguf
"""

from absl import flags

from zoo import command, files

with command.quiet_imports(keras=True):
    from zoo import directory
    from zoo.directory.assemble import assemble
    from zoo.directory.gguf import writer as gguf_writer

_SOURCE = flags.DEFINE_string(
    "source",
    None,
    "A model directory; a folder of LoRA adapters, which are merged; a file *.gguf, "
    "*.keras or *.weights.h5; a folder with a checkpoint of TensorFlow; owner/name on "
    "the Hugging Face Hub; or keras_hub:NAME, the name or folder of a preset.",
    required=True,
)
_OUTPUT = flags.DEFINE_string(
    "output",
    None,
    "An empty or new directory. For gguf, a new file *.gguf.",
    required=True,
)
_FORMAT = flags.DEFINE_enum(
    "format",
    "directory",
    ["directory", "gguf"],
    "directory: a model directory. gguf: one file that llama.cpp reads.",
)
_REVISION = flags.DEFINE_string(
    "revision", None, "A branch, a tag or a commit on the Hub."
)


def main(argv):
    del argv
    gguf = _FORMAT.value == "gguf"
    (gguf_writer.check_name if gguf else files.refuse_full)(_OUTPUT.value)
    files.check_room(_OUTPUT.value, 0)
    found = directory.read(_SOURCE.value, _REVISION.value)
    files.check_room(_OUTPUT.value, found.size)
    loaded = assemble(found)
    if gguf:
        gguf_writer.write(_OUTPUT.value, loaded.model, loaded.tokenizer)
    else:
        source = loaded.source_tokenizer
        directory.save(_OUTPUT.value, *loaded, source_tokenizer=source)
    print(_OUTPUT.value)


def run():
    command.run_app(main)


if __name__ == "__main__":
    run()
