"""Tokenizers: byte-level BPE, trained here or read from a model directory.

The work is done by the `tokenizers` library; the format is Hugging Face's
(`tokenizer.json`, `tokenizer_config.json`), so that others read what we write.
"""

import functools
import json
import os
import tempfile
from collections.abc import Iterable, Sequence
from typing import Any

import tokenizers
from tokenizers import decoders, models, pre_tokenizers, trainers

END = "<|endoftext|>"
TOKENIZER_FILE = "tokenizer.json"
CONFIG_FILE = "tokenizer_config.json"
# Newer directories keep the chat template in a file of its own.
TEMPLATE_FILE = "chat_template.jinja"
# The fields of a tokenizer_config.json that name a special token.
NAMED_TOKENS = (
    "bos_token eos_token unk_token sep_token pad_token cls_token mask_token"
).split()


class Tokenizer:
    """Text to token ids and back.

    Args:
      json_text: the content of a tokenizer.json.
      config: the content of a tokenizer_config.json; `eos_token` names the token
        that ends a text, `<|endoftext|>` where it is left out; `end_tokens` may list
        more of them.

    Attributes:
      end_id: of the end token.
      end_ids: of all tokens that end a text, that one first.
      vocab_size: the highest id and 1.

    Raises:
      ValueError: the text is no tokenizer, or an end token is not in it.
    """

    def __init__(self, json_text: str, config: dict[str, Any] | None = None):
        self.json = json_text
        self.config = {"eos_token": END, **(config or {})}
        self._plain = _engine(json_text)
        self._plain.encode_special_tokens = True
        end = self.config["eos_token"]
        self.end_token: str = end["content"] if isinstance(end, dict) else end
        end_id = self._plain.token_to_id(self.end_token)
        if end_id is None:
            raise ValueError(f"eos_token: {self.end_token!r} is not in the vocabulary.")
        self.end_id: int = end_id
        self.end_ids: list[int] = list(dict.fromkeys([end_id, *self._more_ends()]))
        self.vocab_size: int = max(self._plain.get_vocab().values()) + 1

    @property
    def prefix(self) -> list[int]:
        """The ids that its post-processor puts before a text, such as `<s>`."""
        plain = self._plain.encode("a", add_special_tokens=False).ids
        whole = self._plain.encode("a", add_special_tokens=True).ids
        places = range(len(whole) - len(plain) + 1)
        starts = (i for i in places if whole[i : i + len(plain)] == plain)
        return whole[: next(starts, 0)]

    @property
    def chat_template(self) -> str | None:
        """The Jinja template of a chat, or None."""
        return self.config.get("chat_template")

    @functools.cached_property
    def _minting(self):
        # A second copy, because whether special tokens are minted is a state of the
        # library's object, and user text must never end up in the minting one.
        return _engine(self.json)

    def encode(self, text: str, special: bool = False) -> list[int]:
        """Token ids of one text; no start or end token is added.

        Args:
          text: any text.
          special: whether names of special tokens in the text become those tokens:
            True for templates of our own, never for what a user wrote.
        """
        engine = self._minting if special else self._plain
        return engine.encode(text, add_special_tokens=False).ids

    def encode_batch(self, texts: Sequence[str], special: bool = False):
        """Token ids of several texts, a list each; uses all cores."""
        engine = self._minting if special else self._plain
        coded = engine.encode_batch_fast(list(texts), add_special_tokens=False)
        return [one.ids for one in coded]

    def decode(self, ids: Iterable[int]) -> str:
        """The text of token ids; special and unknown ids give nothing.

        Raises:
          ValueError: a negative id.
        """
        ids = [int(i) for i in ids]
        if ids and min(ids) < 0:
            raise ValueError(
                f"Token id {min(ids)}, 0 to {self.vocab_size - 1} allowed."
            )
        return self._plain.decode(ids, skip_special_tokens=True)

    def _more_ends(self):
        names = self.config.get("end_tokens", [])
        for name in names if isinstance(names, list) else [names]:
            number = self._plain.token_to_id(name) if isinstance(name, str) else None
            if number is None:
                raise ValueError(f"end_tokens: {name!r:.80} is not in the vocabulary.")
            yield number

    def save(self, directory: str, model_max_length: int | None = None) -> None:
        """Writes tokenizer.json and tokenizer_config.json, whole or not at all.

        Args:
          directory: made where it does not exist.
          model_max_length: the context of the model, for readers that cut texts.
        """
        config = {
            "tokenizer_class": "PreTrainedTokenizerFast",
            # Readers that "clean up" spaces would not return the text they read.
            "clean_up_tokenization_spaces": False,
            **self.config,
        }
        if model_max_length is not None:
            config["model_max_length"] = model_max_length
        os.makedirs(directory, exist_ok=True)
        _write(os.path.join(directory, TOKENIZER_FILE), self.json)
        text = json.dumps(config, indent=2, ensure_ascii=False, sort_keys=True)
        _write(os.path.join(directory, CONFIG_FILE), text + "\n")


def load(directory: str) -> Tokenizer:
    """Reads the tokenizer of a model directory.

    Raises:
      ValueError: tokenizer.json is missing, or one of the files is broken.
    """
    path = os.path.join(directory, TOKENIZER_FILE)
    if not os.path.isfile(path):
        raise ValueError(f"{path}: no such file.")
    config = {}
    if os.path.isfile(os.path.join(directory, CONFIG_FILE)):
        config = _read_config(os.path.join(directory, CONFIG_FILE))
    template = os.path.join(directory, TEMPLATE_FILE)
    if os.path.isfile(template):
        config["chat_template"] = _read(template)
    try:
        return Tokenizer(_read(path), config)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None


def train(
    documents: Iterable[str],
    vocab_size: int,
    special_tokens: Sequence[str] = (END,),
) -> Tokenizer:
    """Trains a byte-level BPE vocabulary; equal input gives an equal vocabulary.

    Ids are the special tokens, then the 256 bytes, then merges by frequency: with
    one special token, 257 is the vocabulary of bytes. (Sennrich et al. 2016, on the
    bytes of Radford et al. 2019 and with its splitting at words.)

    Args:
      documents: texts; names of special tokens in them are plain text.
      vocab_size: how many tokens, special ones and bytes included.
      special_tokens: the first one ends a text.

    Raises:
      ValueError: no special token, or fewer or more tokens asked for than the bytes
        need and the corpus supports.
    """
    if not special_tokens or len(set(special_tokens)) < len(special_tokens):
        raise ValueError(f"special_tokens: {special_tokens}, expected distinct names.")
    least = 256 + len(special_tokens)
    if vocab_size < least:
        raise ValueError(f"vocab_size: {vocab_size}, at least {least} allowed.")
    engine = tokenizers.Tokenizer(models.BPE())
    engine.pre_tokenizer = pre_tokenizers.ByteLevel(
        add_prefix_space=False, use_regex=True
    )
    engine.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        special_tokens=list(special_tokens),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    engine.train_from_iterator(documents, trainer)
    if engine.get_vocab_size() < vocab_size:
        raise ValueError(
            f"vocab_size: {vocab_size}, but this corpus supports at most "
            f"{engine.get_vocab_size()}; allowed: {least} to that."
        )
    ends = {"bos_token": special_tokens[0], "eos_token": special_tokens[0]}
    return Tokenizer(engine.to_str(pretty=True), ends)


def _engine(json_text: str) -> tokenizers.Tokenizer:
    try:
        engine = tokenizers.Tokenizer.from_str(json_text)
    except Exception as error:  # the library raises plain Exception
        raise ValueError(f"not a tokenizer: {error}.") from None
    # Files of others may ask for both; we never cut or fill a text silently.
    engine.no_truncation()
    engine.no_padding()
    return engine


def _read_config(path: str) -> dict[str, Any]:
    try:
        config = json.loads(_read(path))
    except json.JSONDecodeError as error:
        raise ValueError(f"{path}: not JSON ({error}).") from None
    if not isinstance(config, dict):
        raise ValueError(f"{path}: a {type(config).__name__}, expected an object.")
    return config


def _read(path: str) -> str:
    try:
        with open(path, encoding="utf-8", newline="") as file:
            return file.read()
    except UnicodeDecodeError as error:
        raise ValueError(f"{path}: byte {error.start} is not valid UTF-8.") from None


def _write(path: str, text: str) -> None:
    with tempfile.NamedTemporaryFile(
        "w", encoding="utf-8", newline="", dir=os.path.dirname(path), delete=False
    ) as file:
        file.write(text)
    os.chmod(file.name, 0o644)  # temporary files are private, these are not
    os.replace(file.name, path)
