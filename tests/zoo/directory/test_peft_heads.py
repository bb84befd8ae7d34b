"""Adapters beside a new head, which PEFT trains in full: `modules_to_save`.

The golden files are those of `test_peft.py`; their bases have no such head.
"""

import json
import shutil

import numpy as np
import pytest
import safetensors.numpy
import tensorflow as tf

import zoo
from tests.zoo.directory import test_peft
from zoo import directory, lora
from zoo.directory import adapter_writer
from zoo.lora_config import Lora
from zoo.models import headed

FAMILIES, FOLDER, WEIGHTS = test_peft.FAMILIES, test_peft.FOLDER, test_peft.WEIGHTS
BASES = {
    "bert_classify": FAMILIES / "encoders/bert",
    "gpt2_tag": FAMILIES / "gpt2",
    "llama_classify": FAMILIES / "llama",
}


def answers(model, golden):
    return model(tf.constant(golden["tokens"]), tf.constant(golden["lengths"])).numpy()


@pytest.mark.parametrize("case", BASES)
def test_what_peft_trained(case, tmp_path):
    golden = np.load(FOLDER / case / "golden.npz")
    loaded = zoo.load(FOLDER / case)
    config = loaded.model.config
    assert config.task == case.split("_")[1] and config.classes == 3
    found, wanted = answers(loaded.model, golden), golden["logits"]
    if config.task == "tag":
        real = np.arange(wanted.shape[1]) < golden["lengths"][:, None]
        found, wanted = found[real], wanted[real]
    assert np.abs(found - wanted).max() < 1e-5
    directory.save(tmp_path / "merged", *loaded)  # as zoo.convert does
    again = zoo.load(tmp_path / "merged").model
    np.testing.assert_array_equal(answers(again, golden), answers(loaded.model, golden))


@pytest.mark.parametrize("case", BASES)
def test_ours_come_back(case, tmp_path):
    """With the names of the labels, which PEFT's files do not have."""
    golden = np.load(FOLDER / case / "golden.npz")
    config = zoo.load(FOLDER / case).model.config
    body = directory.load(BASES[case]).model
    model = headed.put_on(
        body,
        task=config.task,
        labels=("a", "b", "c"),
        classes=3,
        pooling=config.pooling,
        hidden=config.hidden,
        bias=config.bias,
    )
    options = Lora(rank=2, alpha=4.0)
    lora.add(model, options)
    rng = np.random.default_rng(0)
    for variable in lora.learning(model):
        variable.assign(rng.normal(0, 0.3, variable.shape))
    adapter_writer.save(tmp_path / "ours", model, options, str(BASES[case]))
    loaded = zoo.load(tmp_path / "ours").model
    assert loaded.config.labels == ("a", "b", "c")
    distance = np.abs(answers(loaded, golden) - answers(model, golden))
    assert distance.max() < 1e-5
    # as PEFT names the tensors of the head
    names = set(safetensors.numpy.load_file(tmp_path / "ours" / WEIGHTS))
    theirs = set(safetensors.numpy.load_file(FOLDER / case / WEIGHTS))
    assert {n for n in names if "lora" not in n} == {
        n for n in theirs if "lora" not in n
    }


@pytest.fixture
def copy(tmp_path):
    """A copy of PEFT's adapters of the BERT classifier."""
    folder = tmp_path / "copy"
    shutil.copytree(FOLDER / "bert_classify", folder)
    path = folder / "adapter_config.json"
    value = json.loads(path.read_text())
    value["base_model_name_or_path"] = str(BASES["bert_classify"])
    path.write_text(json.dumps(value))
    return folder


HEAD = "base_model.model.classifier."


@pytest.mark.parametrize(
    "change, words",
    [
        (lambda t: t.pop(f"{HEAD}weight"), "but has no tensor .*classifier.weight"),
        (lambda t: t.pop(f"{HEAD}bias"), "classifier.bias"),
        (
            lambda t: t.update({f"{HEAD}bias": np.zeros(5, np.float32)}),
            r"classifier.bias.* \(5,\)",
        ),
        (
            lambda t: t.update({f"{HEAD}other": np.zeros(5, np.float32)}),
            "classifier.other is no weight of the base model",
        ),
    ],
)
def test_a_head_that_does_not_fit(copy, change, words):
    tensors = safetensors.numpy.load_file(copy / WEIGHTS)
    change(tensors)
    safetensors.numpy.save_file(tensors, copy / WEIGHTS)
    with pytest.raises(ValueError, match=words):
        zoo.load(copy)


def test_a_config_of_another_family(copy):
    (copy / "base.json").write_text(json.dumps({"model": {"model_type": "gpt2"}}))
    with pytest.raises(
        ValueError, match="model in base.json is no model of the base's"
    ):
        zoo.load(copy)
