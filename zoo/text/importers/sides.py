"""The tokenizers of an encoder-decoder's directory: of targets, and of sources.

the files of `hf_files`       the tokenizer of targets, and of sources without a
                              tokenizer of their own
source_tokenizer.json,        the tokenizer of sources
source_tokenizer_config.json
source.spm, target.spm,       both tokenizers of Marian, see `unigram`;
vocab.json                    target_vocab.json has the ids of targets where
                              tokenizer_config.json has `separate_vocabs`
"""

import os
import pathlib
from collections.abc import Sequence
from typing import Any

from zoo import files
from zoo.text import tokenizer as tokenizers
from zoo.text.importers import hf_files, special_tokens, unigram
from zoo.text.tokenizer import CONFIG_FILE, SOURCE, TOKENIZER_FILE, Tokenizer

OWN = (SOURCE + TOKENIZER_FILE, SOURCE + CONFIG_FILE)
MARIAN = ("source.spm", "target.spm", "target_vocab.json")
FILES = (*hf_files.FILES, *OWN, *MARIAN)
_SEPARATE = "separate_vocabs"
_NAMES = {"eos_token": "</s>", "unk_token": "<unk>", "pad_token": "<pad>"}
_LARGEST = 64 * 2**20


def load(
    folder: str, end_ids: Sequence[int] = (), marian: bool = False
) -> tuple[Tokenizer | None, Tokenizer | None]:
    """Reads the tokenizers of a directory.

    Args:
      folder: the directory of the model.
      end_ids: `eos_token_id` of config.json and generation_config.json.
      marian: whether the model is of the family Marian.

    Returns:
      The tokenizer of targets, or None; and that of sources, None if it is the same.

    Raises:
      ValueError: a file is broken, or one of Marian's is missing.
    """
    present = {name for name in FILES if os.path.isfile(os.path.join(folder, name))}
    if TOKENIZER_FILE not in present:
        spm = present & set(MARIAN[:2])
        if spm or (marian and "vocab.json" in present):
            return _marian(folder, present)
    target, source = hf_files.load(folder, end_ids), None
    if OWN[0] in present:
        for name in present & set(OWN):
            _check_size(os.path.join(folder, name))
        source = tokenizers.load(folder, SOURCE)
    return target, source


def _marian(folder, present) -> tuple[Tokenizer, Tokenizer]:
    """The tokenizers of Marian's files."""
    path = pathlib.Path(folder)
    settings: dict[str, Any] = {}
    if CONFIG_FILE in present:
        settings = files.read_json(path / CONFIG_FILE)
    for name in present & set(MARIAN):
        _check_size(os.path.join(folder, name))
    separate = bool(settings.pop(_SEPARATE, False))
    settings.pop("tokenizer_class", None)  # it would read Marian's files again
    settings |= {
        name: special_tokens.content_of(settings.get(name)) or token
        for name, token in _NAMES.items()
    }
    try:
        source, target = (
            Tokenizer(engine.to_str(pretty=True), settings)
            for engine in unigram.marian(folder, separate)
        )
    except ValueError as error:
        message = str(error)
        if not message.startswith(folder):
            message = f"{folder}: {message}"
        raise ValueError(message) from None
    except Exception as error:  # the library raises plain Exception
        what = f"{type(error).__name__}: {error}"
        raise ValueError(f"{folder}: the tokenizer is broken: {what}") from None
    return target, source


def _check_size(path) -> None:
    if os.path.getsize(path) > _LARGEST:
        raise ValueError(f"{path}: larger than {_LARGEST} bytes.")
