"""Tokenizers: byte-level BPE that is trained here, or any that a directory holds.

The `tokenizers` library does the work. The files are those of Hugging Face,
tokenizer.json and tokenizer_config.json, so other programs read them too.
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
SOURCE = "source_"  # starts the names of the files of sources
# Newer directories hold the chat template in a separate file.
TEMPLATE_FILE = "chat_template.jinja"
# The fields of a tokenizer_config.json that name a special token.
NAMED_TOKENS = (
    "bos_token eos_token unk_token sep_token pad_token cls_token mask_token"
).split()
# Gemma 3 has the largest tokenizer.json of all families: 33 MB and 2 merges a token.
LARGEST = 48 * 2**20
_MERGES, _MERGES_PER_TOKEN = 2**18, 8


class Tokenizer:
    """Text to token ids and back.

    Args:
      json_text: the content of a tokenizer.json.
      config: the fields of a tokenizer_config.json. `eos_token` names the token that
        ends a text; `<|endoftext|>` is the default, and None means that no token does.
        `end_tokens` may list more names.
      engine: the `library_tokenizer` of json_text, where the caller has it: to read a
        large text takes a tenth of a second. The Tokenizer keeps and changes it.

    Attributes:
      json: the content of the tokenizer.json.
      config: the fields of the tokenizer_config.json.
      end_token: the name of the end token, or None.
      end_id: the id of the end token, or None.
      end_ids: the ids of all tokens that end a text, `end_id` first.
      vocab_size: the highest id and 1.

    Raises:
      ValueError: the text is not a tokenizer, or it has no such end token.
    """

    def __init__(
        self,
        json_text: str,
        config: dict[str, Any] | None = None,
        engine: tokenizers.Tokenizer | None = None,
    ):
        self.json = json_text
        self.config = {"eos_token": END, **(config or {})}
        self._plain = engine or library_tokenizer(json_text)
        self._plain.encode_special_tokens = True
        end = self.config["eos_token"]
        self.end_token: str | None = end["content"] if isinstance(end, dict) else end
        end_ids = []
        if self.end_token is not None:
            end_ids.append(self._plain.token_to_id(self.end_token))
        if None in end_ids:
            raise ValueError(f"eos_token: {self.end_token!r} is not in the vocabulary.")
        self.end_ids: list[int] = list(dict.fromkeys([*end_ids, *self._more_ends()]))
        self.end_id: int | None = self.end_ids[0] if self.end_ids else None
        self.vocab_size: int = max(self._plain.get_vocab().values()) + 1

    @property
    def prefix(self) -> list[int]:
        """The ids that the post-processor puts before a text, such as `<s>`."""
        plain = self._plain.encode("a", add_special_tokens=False).ids
        framed = self._plain.encode("a", add_special_tokens=True).ids
        places = range(len(framed) - len(plain) + 1)
        starts = (i for i in places if framed[i : i + len(plain)] == plain)
        return framed[: next(starts, 0)]

    @property
    def chat_template(self) -> str | None:
        """The Jinja template of a chat, or None."""
        return self.config.get("chat_template")

    @functools.cached_property
    def _with_special(self):
        """A second copy of the tokenizer, which encodes the names of special tokens.

        That is a state of the library's object, and text of a user must never meet it.
        """
        return library_tokenizer(self.json)

    def encode(self, text: str, special: bool = False) -> list[int]:
        """The ids of one text, without a start or end token.

        Args:
          text: any text.
          special: whether the name of a special token becomes that token. True only
            for text that no user wrote, such as a chat template.
        """
        engine = self._with_special if special else self._plain
        return engine.encode(text, add_special_tokens=False).ids

    def encode_batch(self, texts: Sequence[str], special: bool = False):
        """The ids of several texts, one list for each text; uses all cores."""
        engine = self._with_special if special else self._plain
        encodings = engine.encode_batch_fast(list(texts), add_special_tokens=False)
        return [encoding.ids for encoding in encodings]

    def encode_with_spans(self, text: str) -> tuple[list[int], list[tuple[int, int]]]:
        """The ids of one text, and the first and last + 1 character of each."""
        encoding = self._plain.encode(text, add_special_tokens=False)
        return encoding.ids, encoding.offsets

    def decode(self, ids: Iterable[int], continuing: bool = False) -> str:
        """The text of ids; special and unknown ids have no text.

        Args:
          ids: 0 or above.
          continuing: whether the ids follow other text. The first space of a text that
            follows another one is kept, which Llama 2 drops at the start of a text.

        Raises:
          ValueError: an id is negative.
        """
        ids = [int(i) for i in ids]
        if ids and min(ids) < 0:
            raise ValueError(
                f"Token id {min(ids)}, 0 to {self.vocab_size - 1} allowed."
            )
        text = self._plain.decode(ids, skip_special_tokens=True)
        if not continuing:
            return text
        before = self.encode("a")
        start = self._plain.decode(before)
        joined = self._plain.decode([*before, *ids], skip_special_tokens=True)
        return joined.removeprefix(start) if joined.startswith(start) else text

    def _more_ends(self):
        """The ids of the field `end_tokens`."""
        names = self.config.get("end_tokens", [])
        for name in names if isinstance(names, list) else [names]:
            number = self._plain.token_to_id(name) if isinstance(name, str) else None
            if number is None:
                raise ValueError(f"end_tokens: {name!r:.80} is not in the vocabulary.")
            yield number

    def save(self, directory: str, prefix: str = "") -> None:
        """Writes tokenizer.json and tokenizer_config.json, each by one rename.

        Args:
          directory: created where it does not exist.
          prefix: starts the names of the files, such as `SOURCE`.
        """
        config = {
            "tokenizer_class": "PreTrainedTokenizerFast",
            # With "clean up", transformers would not decode to the text encoded.
            "clean_up_tokenization_spaces": False,
            **self.config,
        }
        os.makedirs(directory, exist_ok=True)
        _write(os.path.join(directory, prefix + TOKENIZER_FILE), self.json)
        text = json.dumps(config, indent=2, ensure_ascii=False, sort_keys=True)
        _write(os.path.join(directory, prefix + CONFIG_FILE), text + "\n")


def load(directory: str, prefix: str = "") -> Tokenizer:
    """Reads the tokenizer of a model directory.

    Args:
      directory: the folder.
      prefix: starts the names of the files, as in `Tokenizer.save`.

    Raises:
      ValueError: tokenizer.json is missing, or a file is broken.
    """
    path = os.path.join(directory, prefix + TOKENIZER_FILE)
    if not os.path.isfile(path):
        raise ValueError(f"{path}: no such file.")
    config = {}
    settings = os.path.join(directory, prefix + CONFIG_FILE)
    if os.path.isfile(settings):
        config = _read_config(settings)
    template = os.path.join(directory, prefix + TEMPLATE_FILE)
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

    The method is BPE of Sennrich et al. 2016, on the bytes and words of Radford et al.
    2019. The ids are the special tokens, then the 256 bytes, then the merges by
    frequency. With one special token, a vocabulary of 257 has the bytes only.

    Args:
      documents: texts; names of special tokens in them are plain text.
      vocab_size: the number of tokens, special tokens and bytes included.
      special_tokens: names; the first one ends a text.

    Raises:
      ValueError: no special token is given, or `vocab_size` is below the special tokens
        and bytes, or it is above what the corpus supports.
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


def library_tokenizer(json_text: str) -> tokenizers.Tokenizer:
    """The library's tokenizer of a tokenizer.json, which neither cuts nor fills a text.

    Raises:
      ValueError: the text is not a tokenizer, or too large, or two tokens have one id.
    """
    _check_size(json_text)
    try:
        engine = tokenizers.Tokenizer.from_str(json_text)
    except Exception as error:  # the library raises plain Exception
        raise ValueError(f"not a tokenizer: {error}.") from None
    engine.no_truncation()
    engine.no_padding()
    tokens = {}
    for token, number in engine.get_vocab().items():
        if tokens.setdefault(number, token) != token:
            first, second = sorted([tokens[number], token])
            raise ValueError(
                f"the tokens {first!r:.80} and {second!r:.80} have one id, {number}."
            )
    return engine


def _check_size(json_text):
    """Refuses what costs gigabytes to parse, such as merges that repeat."""
    if len(json_text) > LARGEST:
        raise ValueError(f"{len(json_text)} characters, up to {LARGEST} allowed.")
    # A merge has 2 or 4 quotes, an entry of the vocabulary 2.
    start = json_text.find('"merges"')
    vocabulary = json_text.count('"', 0, max(start, 0)) // 2
    merges = json_text.count('"', max(start, 0)) // 4
    most = max(_MERGES, _MERGES_PER_TOKEN * vocabulary)
    if start >= 0 and merges > most:
        raise ValueError(
            f"model.merges: {merges} or more for {vocabulary} tokens, up to {most} "
            "allowed."
        )


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
    """Writes a file beside the path, then renames it."""
    with tempfile.NamedTemporaryFile(
        "w", encoding="utf-8", newline="", dir=os.path.dirname(path), delete=False
    ) as file:
        file.write(text)
    os.chmod(file.name, 0o644)  # a temporary file is private to its user
    os.replace(file.name, path)
