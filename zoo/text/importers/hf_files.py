"""The tokenizer of a Hugging Face directory, from any of the files that hold one.

    tokenizer.json             read as it is
    vocab.json, merges.txt     byte-level BPE (Radford et al. 2019)
    tokenizer.model            SentencePiece's BPE, see `sentencepiece`
    spiece.model, sentencepiece.bpe.model
                               SentencePiece's Unigram, see `unigram`
    vocab.txt                  WordPiece (Devlin et al. 2018)

The others become a tokenizer.json as transformers writes one, so the ids are equal.
Special tokens of Unigram models are kept out of text, see `named_pieces`.
"""

import json
import os
from collections.abc import Sequence
from typing import Any

import tokenizers
from tokenizers import decoders, models, normalizers, pre_tokenizers, processors

from zoo.text.importers import named_pieces, sentencepiece, special_tokens, unigram
from zoo.text.tokenizer import (
    CONFIG_FILE,
    END,
    TEMPLATE_FILE,
    TOKENIZER_FILE,
    Tokenizer,
    library_tokenizer,
)

_MAP_FILE = "special_tokens_map.json"
_ADDED_FILE = "added_tokens.json"
_UNIGRAM = ("spiece.model", "sentencepiece.bpe.model")
_VOCABULARIES = (
    *("vocab.json", "merges.txt", "tokenizer.model", "vocab.txt"),
    *_UNIGRAM,
)
FILES = (
    TOKENIZER_FILE,
    CONFIG_FILE,
    TEMPLATE_FILE,
    _MAP_FILE,
    _ADDED_FILE,
    *_VOCABULARIES,
)
_LARGEST = 64 * 2**20
_UNIGRAM_BY_TYPE = {
    "t5": "T5Tokenizer",
    "mt5": "T5Tokenizer",
    "umt5": "T5Tokenizer",
    "xlm-roberta": "XLMRobertaTokenizer",
    "albert": "AlbertTokenizer",
}
# Other classes have a vocab.json too, but other pre-tokenizers.
_BYTE_LEVEL = ("GPT2Tokenizer", "RobertaTokenizer", "BartTokenizer")


def load(folder: str, end_ids: Sequence[int] = ()) -> Tokenizer | None:
    """Reads the tokenizer of a directory.

    The token that ends a text is the `eos_token` of tokenizer_config.json, else the
    first of `end_ids`, else the `eos_token` of special_tokens_map.json, else
    <|endoftext|>, else the separator of WordPiece. Where `end_ids` names more, the
    field `end_tokens` of the Tokenizer's config lists all of them.

    Args:
      folder: the directory of the model.
      end_ids: `eos_token_id` of config.json and generation_config.json.

    Returns:
      None where the folder has no tokenizer.

    Raises:
      ValueError: a file is broken, or asks for code of its own.
    """
    present = {name for name in FILES if os.path.isfile(os.path.join(folder, name))}
    if not present & {TOKENIZER_FILE, *_VOCABULARIES}:
        return None
    settings = _object(folder, CONFIG_FILE) if CONFIG_FILE in present else {}
    if "auto_map" in settings:
        raise ValueError(
            f"{os.path.join(folder, CONFIG_FILE)}: auto_map {settings['auto_map']!r} "
            "asks for code of the folder's own, and none of it is run here."
        )
    special = _object(folder, _MAP_FILE) if _MAP_FILE in present else {}
    mapped = special_tokens.content_of(special.pop("eos_token", None))
    settings = {**special, **{k: v for k, v in settings.items() if v is not None}}
    if TEMPLATE_FILE in present:
        settings["chat_template"] = _text(folder, TEMPLATE_FILE)
    try:
        if TOKENIZER_FILE in present:
            text = _text(folder, TOKENIZER_FILE)
            engine = library_tokenizer(text)
            changed = special_tokens.add(engine, settings)
            changed |= special_tokens.add_frame(engine, settings)
            changed |= named_pieces.keep_out(engine)
            if changed:
                text = engine.to_str(pretty=True)
        else:
            engine = _build(folder, present, settings)
            if _ADDED_FILE in present:
                settings["added_tokens_decoder"] = special_tokens.by_id(
                    _object(folder, _ADDED_FILE), settings
                )
            special_tokens.add(engine, settings)
            named_pieces.keep_out(engine)
            text, changed = engine.to_str(pretty=True), True
        read = None if changed else engine
        settings.pop("added_tokens_decoder", None)  # tokenizer.json holds them
        settings["eos_token"] = special_tokens.content_of(settings.get("eos_token"))
        if settings["eos_token"]:
            tokenizer = Tokenizer(text, settings, read)
            if {*end_ids} <= {tokenizer.end_id}:
                return tokenizer
        ends = _ends(engine, settings, end_ids, mapped)
        return Tokenizer(text, settings | ends, read)
    except ValueError as error:
        message = str(error)
        if not message.startswith(folder):
            message = f"{folder}: {message}"
        raise ValueError(message) from None
    except Exception as error:  # the library raises plain Exception
        what = f"{type(error).__name__}: {error}"
        raise ValueError(f"{folder}: the tokenizer is broken: {what}") from None


def _ends(engine, settings, end_ids, mapped) -> dict[str, Any]:
    """The fields `eos_token` and `end_tokens`."""
    # Configs repeat the default of their family, such as 50256, for any vocabulary.
    names = [n for n in map(engine.id_to_token, end_ids) if n is not None]
    usual = [mapped]
    if engine.token_to_id(END) is not None:
        usual.append(END)
    if isinstance(engine.model, models.WordPiece):
        usual.append(special_tokens.content_of(settings.get("sep_token", "[SEP]")))
    end = next((e for e in [settings["eos_token"], *names, *usual] if e), None)
    if end is None:
        return {"eos_token": None}
    several = list(dict.fromkeys([end, *names]))
    return {"eos_token": end, **({"end_tokens": several} if several[1:] else {})}


def _build(folder, present, settings) -> tokenizers.Tokenizer:
    """Builds the tokenizer of a folder that has no tokenizer.json."""
    path = {name: os.path.join(folder, name) for name in _VOCABULARIES}
    for name in present:
        _check_size(path.get(name))
    if "tokenizer.model" in present:
        return sentencepiece.read(path["tokenizer.model"], settings)
    found = [name for name in _UNIGRAM if name in present]
    if found:
        family = _family(folder, settings)
        engine = unigram.read(path[found[0]], family, settings)
        ends = {"eos_token": "[SEP]" if family == "AlbertTokenizer" else "</s>"}
        _fill(engine, settings, ends | {"unk_token": "<unk>", "pad_token": "<pad>"})
        return engine
    if {"vocab.json", "merges.txt"} <= present:
        return _byte_level(path["vocab.json"], path["merges.txt"], settings)
    if "vocab.txt" in present:
        return _wordpiece(path["vocab.txt"], settings)
    raise ValueError("vocab.json and merges.txt are needed, only one of them is there.")


def _family(folder, settings) -> str:
    """The class of the tokenizer of a Unigram file."""
    name = settings.get("tokenizer_class")
    if isinstance(name, str):
        name = name.removesuffix("Fast")
        return "T5Tokenizer" if name == "MT5Tokenizer" else name
    kind = None
    if os.path.isfile(os.path.join(folder, "config.json")):
        kind = _object(folder, "config.json").get("model_type")
    if kind not in _UNIGRAM_BY_TYPE:
        raise ValueError(
            f"config.json: model_type {kind!r} without tokenizer_class; allowed: "
            f"{', '.join(_UNIGRAM_BY_TYPE)}."
        )
    return _UNIGRAM_BY_TYPE[kind]


def _byte_level(vocabulary, merges, settings):
    """Builds the tokenizer of vocab.json and merges.txt."""
    name = settings.get("tokenizer_class", "GPT2Tokenizer").removesuffix("Fast")
    if name not in _BYTE_LEVEL:
        raise ValueError(
            f"tokenizer_class {name!r} without {TOKENIZER_FILE}; allowed: "
            f"{', '.join(_BYTE_LEVEL)}. Write one where transformers is: "
            "AutoTokenizer.from_pretrained(...).save_pretrained(...)."
        )
    space = bool(settings.get("add_prefix_space", False))
    model = models.BPE.from_file(
        vocabulary, merges, continuing_subword_prefix="", end_of_word_suffix=""
    )
    engine = tokenizers.Tokenizer(model)
    engine.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=space)
    engine.decoder = decoders.ByteLevel()
    if name == "GPT2Tokenizer":
        names = {"bos_token": END, "eos_token": END, "unk_token": END}
    else:
        names = {"bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>"}
        names |= {"cls_token": "<s>", "sep_token": "</s>", "pad_token": "<pad>"}
        names["mask_token"] = "<mask>"
    _fill(engine, settings, names)
    if name == "GPT2Tokenizer":
        sentencepiece.add_start_and_end(engine, settings, start=False)
    else:
        engine.post_processor = processors.RobertaProcessing(
            sep=_token_and_id(engine, settings, "sep_token"),
            cls_token=_token_and_id(engine, settings, "cls_token"),
            add_prefix_space=space,
        )
    return engine


def _wordpiece(vocabulary, settings):
    """Builds the tokenizer of vocab.txt."""
    unknown = special_tokens.content_of(settings.get("unk_token", "[UNK]"))
    engine = tokenizers.Tokenizer(
        models.WordPiece.from_file(vocabulary, unk_token=unknown)
    )
    engine.normalizer = normalizers.BertNormalizer(
        clean_text=True,
        handle_chinese_chars=settings.get("tokenize_chinese_chars", True),
        strip_accents=settings.get("strip_accents"),
        lowercase=settings.get("do_lower_case", True),
    )
    engine.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    engine.decoder = decoders.WordPiece()
    names = {"unk_token": "[UNK]", "sep_token": "[SEP]", "pad_token": "[PAD]"}
    _fill(engine, settings, names | {"cls_token": "[CLS]", "mask_token": "[MASK]"})
    around = [
        _token_and_id(engine, settings, name) for name in ("cls_token", "sep_token")
    ]
    cls, sep = (name for name, _ in around)
    engine.post_processor = processors.TemplateProcessing(
        single=f"{cls} $A {sep}",
        pair=f"{cls} $A {sep} $B:1 {sep}:1",
        special_tokens=around,
    )
    return engine


def _fill(engine, settings, names) -> None:
    """Names the special tokens that the vocabulary has and the settings do not name."""
    for name, token in names.items():
        if name not in settings and engine.token_to_id(token) is not None:
            settings[name] = token


def _token_and_id(engine, settings, name) -> tuple[str, int]:
    """A special token and its id."""
    token = special_tokens.content_of(settings.get(name))
    number = engine.token_to_id(token) if isinstance(token, str) else None
    if number is None:
        raise ValueError(f"{name} {token!r} is not in the vocabulary.")
    return token, number


# ------------------------------------------------------------------ files


def _check_size(path) -> None:
    if path and os.path.getsize(path) > _LARGEST:
        raise ValueError(f"{path}: larger than {_LARGEST} bytes.")


def _text(folder, name) -> str:
    """The content of a file, with its line ends as they are."""
    path = os.path.join(folder, name)
    _check_size(path)
    try:
        with open(path, encoding="utf-8", newline="") as file:
            return file.read()
    except UnicodeDecodeError as error:
        raise ValueError(f"{path}: byte {error.start} is not valid UTF-8.") from None


def _object(folder, name) -> dict[str, Any]:
    path = os.path.join(folder, name)
    if os.path.getsize(path) > _LARGEST // 8:  # parsed JSON needs far more memory
        raise ValueError(f"{path}: larger than {_LARGEST // 8} bytes.")
    try:
        value = json.loads(_text(folder, name))
    except (json.JSONDecodeError, RecursionError) as error:
        raise ValueError(f"{path}: not JSON ({error}).") from None
    if not isinstance(value, dict):
        raise ValueError(f"{path}: a {type(value).__name__}, expected an object.")
    return value
