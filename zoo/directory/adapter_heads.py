"""The heads that directories of LoRA adapters bring along; see `adapters`.

PEFT stores a new head among the tensors of the adapters (`modules_to_save`). The
config.json of the base says nothing of it.
"""

import pathlib
from typing import Any

from zoo.directory import config_json
from zoo.directory.hf import heads, peft
from zoo.directory.hf.bert import SENTENCE
from zoo.directory.hf.peft import PREFIX
from zoo.directory.pretrained import Pretrained, Tensors

MODEL = "model"  # of base.json: the config.json of the adapted model
_HEADED = {"SEQ_CLS": "classify", "TOKEN_CLS": "tag"}


def with_head(
    path: pathlib.Path,
    config: peft.AdapterConfig,
    tensors: Tensors,
    base: Pretrained,
    given: Any,
) -> Pretrained:
    """The base with the config.json of the head that the adapters bring, if any.

    Args:
      path: the folder of the adapters, for messages.
      config: its AdapterConfig.
      tensors: of the adapters.
      base: the base model.
      given: the config.json of the adapted model; None in what PEFT wrote.

    Raises:
      ValueError: the adapters have no head, or one of another family.
    """
    family = str(base.config.get("model_type"))
    if family.startswith(config_json.OWN):
        return base
    if given is not None:
        if not isinstance(given, dict) or given.get("model_type") != family:
            raise ValueError(
                f"{path}: {MODEL} in base.json is no model of the base's family "
                f"{family}; read the merged model."
            )
        return base._replace(config=given)
    head = next(
        (
            h
            for h in heads.HEADS.get(family, ())
            if h.task == _HEADED.get(config.task or "")
        ),
        None,
    )
    if head is None:
        return base
    names = base.config.get("architectures")
    if isinstance(names, list) and head.architecture in names:
        return base
    layer = dict(head.layers)["classifier"]
    name = f"{PREFIX}{layer}.weight"
    if name not in tensors:
        raise ValueError(
            f"{path}: is of the task {config.task}, but has no tensor {name}, and the "
            f"base model {base.where} has no such head."
        )
    labels = [f"LABEL_{i}" for i in range(tensors.shapes[name][0])]
    fields = {
        "architectures": [head.architecture],
        "id2label": {str(i): label for i, label in enumerate(labels)},
        "label2id": {label: i for i, label in enumerate(labels)},
    }
    # a head takes the features of an encoder, not the embeddings of its sentences
    known = {k: v for k, v in base.config.items() if k != SENTENCE}
    return base._replace(config={**known, **fields})
