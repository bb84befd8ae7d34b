"""The heads of Hugging Face models: classes of texts or tokens, and masked tokens.

A head is chosen by the field `architectures` of a config.json. It becomes a `headed`
model, and is written back in the layout that it came from.

Sources: Devlin et al. 2018 (BERT, arXiv:1810.04805); Liu et al. 2019 (RoBERTa,
arXiv:1907.11692); Radford et al. 2018 (the last token of a language model).
"""

import dataclasses
import re
from collections.abc import Iterator
from typing import Any, NamedTuple

from zoo.directory.hf import parts
from zoo.directory.hf.bert import SENTENCE
from zoo.directory.hf.parts import Family, WeightMapping
from zoo.fields import from_fields
from zoo.models import headed

_MOST_LABELS = 100_000  # more would take too much memory before a tensor is read
_LM_HEAD = r"^(lm_head|embed_out)\."
_PROBLEMS = ("problem_type", None, "regression", "single_label_classification")


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

    The directory of a sentence-transformers model has an encoder, whatever the head of
    its first training was.
    """
    names = value.get("architectures")
    if value.get(SENTENCE) or not isinstance(names, list):
        return None
    return next((h for h in HEADS[family] if h.architecture in names), None)


def of(family: str, config: headed.Config) -> Head | None:
    """Returns the head of a family for a Config's task, or None."""
    task = "classify" if config.task == "regress" else config.task
    return next((h for h in HEADS[family] if h.task == task), None)


# ------------------------------------------------------------------ config.json


def body_fields(fields: dict[str, Any]) -> dict[str, Any]:
    """Returns the fields of a body's Config: a language model without its own head."""
    without = {"tied_head": True, "head_bias": False}
    return fields | (without if "tied_head" in fields else {})


def read(head: Head, value: dict[str, Any], where: str, body) -> headed.Config:
    """Returns the Config of a model with a head.

    Args:
      head: the head that the config.json names.
      value: the content of the config.json.
      where: the start of error messages.
      body: the Config of its body.

    Raises:
      ValueError: labels that are no list of names, more than one number for a text, or
        a value that is not supported.
    """
    for field, *allowed in head.checks:
        parts.refuse(value, where, field, *allowed)
    fields: dict[str, Any] = {"task": head.task, **head.fields}
    if head.task != "fill_mask":
        labels = _labels(value, where)
        fields |= {"classes": len(labels), "labels": labels}
    problem = value.get("problem_type")
    if head.task == "classify" and (len(labels) == 1 or problem == "regression"):
        if len(labels) != 1 or problem == "single_label_classification":
            raise ValueError(
                f"{where}: problem_type {problem!r} with {len(labels)} labels; "
                "'regression' with 1 allowed, and 'single_label_classification' with "
                "at least 2."
            )
        fields |= {"task": "regress", "classes": 0, "labels": ()}
    if head.dropout:
        rates = [value.get(name) for name in head.dropout]
        fields["dropout"] = next((rate for rate in rates if rate is not None), 0.1)
    own = value.get("zoo")
    if isinstance(own, dict) and "head_dropout" in own:
        fields["dropout"] = own["head_dropout"]
    try:
        return from_fields(headed.Config, {"body": body, **fields}, "headed")
    except ValueError as error:
        raise ValueError(f"{where}: {error}") from None


def write(head: Head, config: headed.Config, value: dict[str, Any]) -> dict[str, Any]:
    """Returns the config.json of a model with a head.

    Args:
      head: one of the body's family.
      config: from `with_defaults`.
      value: the config.json of the body.
    """
    value = {**value, "architectures": [head.architecture]}
    value.pop(SENTENCE, None)
    if head.dropout:
        value[head.dropout[0]] = config.dropout
    if head.task == "fill_mask":
        return value
    labels = config.labels or _numbered(1)
    value["id2label"] = {str(i): name for i, name in enumerate(labels)}
    value["label2id"] = {name: i for i, name in enumerate(labels)}
    if head.task == "classify":
        one = config.task == "regress"
        value["problem_type"] = _PROBLEMS[2] if one else _PROBLEMS[3]
    return value


def with_defaults(config: headed.Config) -> headed.Config:
    """Returns the Config with all that `read` would find in its config.json.

    Fields of the body that do not change what the head reads get one value.
    """
    body, pooling = config.body, config.pooling
    if not pooling:
        pooling = "last"
        if body.task == "embed":
            pooling = "first" if body.pooling == "cls" else "mean"
    if body.task == "embed":
        body = dataclasses.replace(body, pooling="mean", normalization="none")
    else:
        body = dataclasses.replace(body, tied_head=True, head_bias=False)
    return dataclasses.replace(
        config,
        body=parts.with_defaults(body),
        pooling=pooling if config.task in ("classify", "regress") else "",
        labels=config.labels or _numbered(config.classes),
    )


def _labels(value, where) -> tuple[str, ...]:
    """Reads the names of the classes, in the order of their ids."""
    field = "id2label" if value.get("id2label") else "label2id"
    names = value.get(field)
    if not names:
        count = parts.integer(value, where, "num_labels", 2)
        if not 1 <= count <= _MOST_LABELS:
            raise ValueError(
                f"{where}: num_labels {count}, 1 to {_MOST_LABELS} allowed."
            )
        return _numbered(count)
    pairs = names.items() if isinstance(names, dict) else ()
    if field == "label2id":
        pairs = ((i, name) for name, i in pairs)
    by_id = {str(i): name for i, name in pairs if isinstance(name, str | int)}
    ids = [str(i) for i in range(len(names))]
    if by_id.keys() != set(ids):
        raise ValueError(
            f"{where}: {field} {names!r:.80}, a name for each id from 0 to "
            f"{len(names) - 1} allowed."
        )
    count = value.get("num_labels", len(ids))
    if count != len(ids):
        raise ValueError(
            f"{where}: num_labels {count!r}, but {field} has {len(ids)} names."
        )
    return tuple(str(by_id[i]) for i in ids)


def _numbered(count) -> tuple[str, ...]:
    """Returns the names that transformers gives to classes without names."""
    return tuple(f"LABEL_{i}" for i in range(count))


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
    """Returns the name in `mappings` of a tensor of a file; None as in `hf.canonical`."""
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
