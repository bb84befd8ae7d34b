"""Semantic search over the King James Bible: ten questions and the verses that answer.

    python -m benchmarks.search_kjv --model=DIR [--index=FILE] [--peer_python=PYTHON]

DIR is a text encoder, such as all-MiniLM-L6-v2. Each of the 31,102 verses is a passage.
The benchmark builds the index where FILE is absent; that takes minutes. It prints the
rank of the first expected verse of each question, and how many are in the top five.
("Who built the ark?" finds the ark of the covenant; so the question here names Noah.
Daniel 6:24, which answers too, was added for the den of lions after a first look.)

With PYTHON, which has torch and transformers, it also embeds 200 verses there, and
prints the largest difference between the two sides' numbers.
"""

import json
import pathlib
import subprocess
import tempfile
import time

import numpy as np
from absl import app, flags

_MODEL = flags.DEFINE_string("model", None, "A model directory.", required=True)
_INDEX = flags.DEFINE_string("index", None, "Of kjv; it is built where it is absent.")
_PEER = flags.DEFINE_string("peer_python", None, "It has torch and transformers.")

QUESTIONS = {
    "How did Noah save his family from the flood?": [
        "Genesis 7:7",
        "Genesis 6:18",
        "Hebrews 11:7",
    ],
    "What did God create in the beginning?": ["Genesis 1:1"],
    "How old was Methuselah when he died?": ["Genesis 5:27"],
    "Who was turned into a pillar of salt?": ["Genesis 19:26"],
    "Who was thrown into the den of lions?": ["Daniel 6:16", "Daniel 6:24"],
    "Who was swallowed by a great fish?": ["Jonah 1:17"],
    "Who is my shepherd?": ["Psalms 23:1"],
    "Who betrayed Jesus for thirty pieces of silver?": [
        "Matthew 26:15",
        "Matthew 27:3",
    ],
    "How many days did Jesus fast in the wilderness?": ["Matthew 4:2", "Luke 4:2"],
    "What is the root of all evil?": ["1 Timothy 6:10"],
}
_TOP, _SHOWN = 5, 200  # a rank above _SHOWN is not looked for
_COMPARED = 200  # verses

# mean of the last layer over the real tokens, and length 1, as sentence-transformers do
_PEER_PROGRAM = """
import json, sys, torch, transformers
folder, texts = json.load(sys.stdin)
tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
model = transformers.AutoModel.from_pretrained(folder).eval()
given = tokenizer(texts, padding=True, return_tensors="pt")
with torch.no_grad():
    x_BTD = model(**given).last_hidden_state
mask_BT1 = given["attention_mask"][..., None]
mean_BD = (x_BTD * mask_BT1).sum(1) / mask_BT1.sum(1)
print(json.dumps(torch.nn.functional.normalize(mean_BD).tolist()))
"""


def main(argv):
    del argv
    from zoo import directory, search_index

    embedder = search_index.Embedder(directory.load(_MODEL.value), _MODEL.value)
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(_INDEX.value or f"{folder}/kjv.index")
        if not path.exists():
            _build(search_index, path, embedder)
        index = search_index.read(path, embedder)
    began = time.perf_counter()
    found = index.search(embedder.vectors([*QUESTIONS]), _SHOWN)
    seconds = time.perf_counter() - began
    ranks = []
    for (question, expected), hits in zip(QUESTIONS.items(), found, strict=True):
        places = [hit.place for hit in hits]
        ranks.append(min([places.index(p) + 1 for p in expected if p in places] or [0]))
        shown = ranks[-1] or f"above {_SHOWN}"
        print(f"rank {shown}  {question}  {hits[0].place}: {hits[0].text}")
    inside = sum(1 <= rank <= _TOP for rank in ranks)
    print(
        f"{inside} of {len(ranks)} questions have an expected verse in the top {_TOP}; "
        f"{1000 * seconds / len(ranks):.0f} ms a question"
    )
    if _PEER.value:
        _compare(embedder, [p.text for p in index.passages[:: 31102 // _COMPARED]])


def _build(search_index, path, embedder):
    """Builds the index and prints the speed."""
    tokens = 0

    def report(done, total):
        nonlocal tokens
        tokens = total

    began = time.perf_counter()
    search_index.write(path, embedder, "kjv", report=report)
    seconds = time.perf_counter() - began
    print(f"{tokens} tokens in {seconds:.0f} s: {tokens / seconds:,.0f} tokens/s")


def _compare(embedder, texts):
    """Prints the largest difference to torch's vectors of the same texts."""
    done = subprocess.run(
        [_PEER.value, "-c", _PEER_PROGRAM],
        input=json.dumps([str(pathlib.Path(_MODEL.value).resolve()), texts]),
        capture_output=True,
        text=True,
        check=True,
    )
    theirs = np.array(json.loads(done.stdout.splitlines()[-1]))
    difference = np.abs(theirs - embedder.vectors(texts)).max()
    print(f"{len(texts)} verses, largest difference to torch: {difference:.1e}")


if __name__ == "__main__":
    app.run(main)
