"""The heads of Hugging Face models: classes of texts or tokens, and masked tokens.

A head is chosen by the field `architectures` of a config.json. It becomes a `headed`
model, and is written back in the layout that it came from.

Sources: Devlin et al. 2018 (BERT, arXiv:1810.04805); Liu et al. 2019 (RoBERTa,
arXiv:1907.11692); Radford et al. 2018 (the last token of a language model).
"""

import re
from collections.abc import Iterator
from typing import Any, NamedTuple

from zoo.directory.hf import parts
from zoo.directory.hf.bert import SENTENCE
from zoo.directory.hf.parts import Family, WeightMapping
from zoo.models import headed

_LM_HEAD = r"^(lm_head|embed_out)\."
REGRESSION, CLASSIFICATION = "regression", "single_label_classification"
_PROBLEMS = ("problem_type", None, REGRESSION, CLASSIFICATION)


class Head(NamedTuple):
    """How the models of a family store one kind of head.

    Attributes:
      architecture: the name in `architectures`.
      task: that of `headed.Config`; "classify" stands for "regress" too.
      layers: pairs (path in a `headed` model, name in a file).
      root: what stands before the names of the body's tensors.
      dropout: fields of a config.json. The first that is there is the dropout before
        the head; the default is 0.1. Without a field there is no dropout.
      fields: the fields of `headed.Config` that are the same for all such heads.
      checks: the arguments of `parts.refuse` after the first two.
      copies: pairs (name of a tensor, name of the tensor whose values it repeats).
    """

    architecture: str
    task: str
    layers: tuple[tuple[str, str], ...]
    root: str = ""
    dropout: tuple[str, ...] = ()
    fields: dict[str, Any] = {}
    checks: tuple[tuple, ...] = ()
    copies: tuple[tuple[str, str], ...] = ()


def _encoder(name, root, classify, mask, activations=()):
    """Returns the heads of an encoder.

    Args:
      name: the start of the names in `architectures`.
      root: as in `Head`.
      classify: the names of the two layers of a classifier of texts.
      mask: the start of the names of a head for masked tokens, the names of its layer
        and norm after that.
      activations: those that the layer for masked tokens has, if not the body's.
    """
    dropout = ("classifier_dropout", "hidden_dropout_prob")
    start, layer, norm = mask
    decoder = f"{start}.decoder"
    tied = (
        (f"{decoder}.weight", f"{root}embeddings.word_embeddings.weight"),
        (f"{decoder}.bias", f"{start}.bias"),
    )
    checks: tuple[tuple, ...] = (("tie_word_embeddings", True),)
    if activations:
        checks += (("hidden_act", *activations),)
    layers = (
        ("transform", f"{start}.{layer}"),
        ("transform_norm", f"{start}.{norm}"),
        ("mask_bias", f"{start}.bias"),
    )
    return (
        Head(
            f"{name}ForSequenceClassification",
            "classify",
            (("transform", classify[0]), ("classifier", classify[1])),
            root,
            dropout,
            {"pooling": "first", "hidden": True},
            (_PROBLEMS,),
        ),
        Head(
            f"{name}ForTokenClassification",
            "tag",
            (("classifier", "classifier"),),
            root,
            dropout,
        ),
        Head(
            f"{name}ForMaskedLM",
            "fill_mask",
            layers,
            root,
            fields={"hidden": True},
            checks=checks,
            copies=tied,
        ),
    )


def _decoder(name, tokens="score", dropout=("classifier_dropout", "hidden_dropout")):
    """Returns the heads of a language model.

    Args:
      name: the start of the names in `architectures`.
      tokens: the name of the classifier of tokens, "" if there is none.
      dropout: as in `Head`, of that classifier.
    """
    texts = Head(
        f"{name}ForSequenceClassification",
        "classify",
        (("classifier", "score"),),
        fields={"pooling": "last", "bias": False},
        checks=(_PROBLEMS,),
    )
    if not tokens:
        return (texts,)
    architecture = f"{name}ForTokenClassification"
    layers = (("classifier", tokens),)
    return texts, Head(architecture, "tag", layers, dropout=dropout)


HEADS = {
    "bert": _encoder(
        "Bert",
        "bert.",
        ("bert.pooler.dense", "classifier"),
        ("cls.predictions", "transform.dense", "transform.LayerNorm"),
    ),
    "roberta": _encoder(
        "Roberta",
        "roberta.",
        ("classifier.dense", "classifier.out_proj"),
        ("lm_head", "dense", "layer_norm"),
        ("gelu",),
    ),
    "gpt2": _decoder("GPT2", "classifier"),
    "llama": _decoder("Llama"),
    "mistral": _decoder("Mistral"),
    "qwen2": _decoder("Qwen2"),
    "qwen3": _decoder("Qwen3"),
    "gemma2": _decoder("Gemma2"),
    "gemma3_text": _decoder("Gemma3Text", ""),
    "gpt_neox": _decoder("GPTNeoX", "classifier", ("classifier_dropout",)),
    "opt": _decoder("OPT", ""),
    "phi": _decoder("Phi"),
}


def named(family: str, value: dict[str, Any]) -> Head | None:
    """Returns the head that a config.json names, or None.

    An encoder in a directory of sentence-transformers has none, whatever the head of
    its first training was.
    """
    names = value.get("architectures")
    if not isinstance(names, list):
        return None
    if value.get(SENTENCE) and any(head.root for head in HEADS.get(family, ())):
        return None
    return next((h for h in HEADS.get(family, ()) if h.architecture in names), None)


def of(family: str, config: headed.Config) -> Head | None:
    """Returns the head of a family for a Config's task, or None."""
    task = "classify" if config.task == "regress" else config.task
    return next((h for h in HEADS.get(family, ()) if h.task == task), None)


# ------------------------------------------------------------------ tensors


def mappings(head: Head, family: Family, config) -> Iterator[WeightMapping]:
    """Yields the mapping of each variable of a `headed` model.

    Args:
      head: a head of the family.
      family: the family of the body.
      config: from `with_defaults`.
    """
    for mapping in family.mappings(config.body):
        if not mapping.path.startswith("head/"):
            names = tuple(head.root + name for name in mapping.hf_names)
            yield mapping._replace(path=f"body/{mapping.path}", hf_names=names)
    width, bias = config.body.width, True
    for path, name in head.layers:
        if path == "mask_bias":
            yield WeightMapping(path, (name,), (config.vocab_size,))
            continue
        size, first = width, "weight"
        if path == "transform_norm":
            first = "scale"
        elif path == "classifier":
            size, bias = max(config.classes, 1), config.bias
        yield WeightMapping(f"{path}/{first}", (f"{name}.weight",), (size,))
        if bias:
            yield WeightMapping(f"{path}/bias", (f"{name}.bias",), (size,))


def canonical(head: Head, family: Family, name: str) -> str | None:
    """Returns what `hf.canonical` returns, for a model with a head."""
    name = parts.renamed(family, name)
    for whole in (head.root + name, name):
        for _, layer in head.layers:
            if whole == layer or whole.startswith(f"{layer}."):
                return whole
    dropped = [pattern for pattern, new in family.names if new is None]
    if any(re.search(pattern, name) for pattern in (*dropped, _LM_HEAD)):
        return None
    return head.root + name


def original(head: Head, family: Family, name: str) -> str | None:
    """Returns the tensor whose values a tensor of a file must repeat, or None."""
    return dict(head.copies).get(parts.renamed(family, name))
