"""Trains a tokenizer on a source and prints the size of the source.

python -m zoo.prepare --source=kjv --output=runs/tokenizer --vocab_size=4096
"""

import os

from absl import flags

from zoo import command
from zoo.data import cleaning, formats, sources
from zoo.text import tokenizer


def prepare_tokenizer(
    source: str, output: str, vocab_size: int, steps: list[str]
) -> formats.Stream:
    """Reads and cleans a source, trains a tokenizer on it, and writes the tokenizer.

    Returns:
      The tokens of the training split.

    Raises:
      ValueError: the output is not an empty directory, or the source, the cleaning or
        the training refuses its input.
    """
    if os.path.exists(output) and (not os.path.isdir(output) or os.listdir(output)):
        raise ValueError(f"--output={output}: exists, expected an empty directory.")
    texts = [cleaning.clean(text, steps) for text in sources.documents(source)]
    trained = tokenizer.train(texts, vocab_size)
    stream = formats.language_model(texts, trained)
    trained.save(output)
    return stream


def main(argv: list[str]) -> None:
    """Does the work and prints the counts."""
    del argv
    given = flags.FLAGS
    stream = prepare_tokenizer(
        given.source, given.output, given.vocab_size, given.clean
    )
    # Each document adds one end token, and the stream begins with another one.
    tokens = len(stream.tokens) - stream.documents - 1
    print(f"documents        {stream.documents}")
    print(f"bytes            {stream.bytes}")
    print(f"tokens           {tokens}")
    print(f"bytes per token  {stream.bytes / tokens:.4f}")
    print(f"written          {given.output}")


def run() -> None:
    """Defines the flags here, because commands share names of flags, and starts."""
    flags.DEFINE_string("source", None, "The source of the text: kjv, text:PATH, ...")
    flags.DEFINE_string("output", None, "A directory that is empty or not there.")
    flags.DEFINE_integer("vocab_size", 4096, "Tokens, 256 bytes and the end included.")
    flags.DEFINE_list("clean", list(cleaning.DEFAULT), "Cleaning steps, in order.")
    flags.mark_flags_as_required(["source", "output"])
    command.run_app(main)


if __name__ == "__main__":
    run()
