"""BERT and RoBERTa as transformers made them, with the files of sentence-transformers.

The golden files in `families/encoders` are tiny random checkpoints with what
transformers says of them; `families/make_encoders.py` made them.
"""

import dataclasses
import json
import pathlib
import shutil

import numpy as np
import pytest
import safetensors.numpy
import tensorflow as tf

from zoo import directory, models, registry
from zoo.directory import hf
from zoo.models.text_encoder import Config
from zoo.text.importers import post_processor

FOLDER = pathlib.Path(__file__).parent / "families" / "encoders"
FAMILIES = sorted(path.parent.name for path in FOLDER.glob("*/config.json"))
FILE = "model.safetensors"


@pytest.fixture(scope="module")
def loaded():
    """What each directory holds, each read once."""
    made = {}

    def get(family):
        if family not in made:
            made[family] = directory.load(FOLDER / family)
        return made[family]

    return get


@pytest.fixture
def copied(tmp_path):
    def copy(family):
        return pathlib.Path(shutil.copytree(FOLDER / family, tmp_path / family))

    return copy


def golden(family):
    return np.load(FOLDER / family / "golden.npz")


def read(family):
    return json.loads((FOLDER / family / "config.json").read_text())


def change(path, **fields):
    path.write_text(json.dumps({**json.loads(path.read_text()), **fields}))


def test_every_encoder_is_here():
    assert FAMILIES == sorted(hf.ENCODERS)


@pytest.mark.parametrize("family", FAMILIES)
def test_features_and_embeddings(family, loaded):
    wanted, model = golden(family), loaded(family).model
    given = tf.constant(wanted["tokens"]), tf.constant(wanted["lengths"])
    real = np.arange(given[0].shape[1]) < wanted["lengths"][:, None]
    x = model(*given).numpy()
    assert np.abs(wanted["features"]).max() > 1
    assert np.abs(x - wanted["features"])[real].max() < 1e-5
    assert np.abs(model.embed(*given) - wanted["embeddings"]).max() < 1e-5
    np.testing.assert_array_equal(model.embed(given[0]), model.embed(*given))


def test_what_the_configs_say(loaded):
    bert, roberta = (loaded(family).model.config for family in FAMILIES)
    assert (bert.pooling, bert.normalization) == ("mean", "l2")
    assert (bert.context, bert.position_offset, bert.types) == (64, 0, 2)
    assert (roberta.pooling, roberta.normalization) == ("cls", "none")
    assert (roberta.context, roberta.position_offset, roberta.types) == (64, 2, 1)
    assert (roberta.padding_id, roberta.norm_epsilon) == (1, 1e-5)


@pytest.mark.parametrize("family", FAMILIES)
def test_the_frame_is_that_of_the_post_processor(family, loaded):
    wanted, tokenizer = golden(family), loaded(family).tokenizer
    texts = json.loads((FOLDER / family / "texts.json").read_text())
    before, after = post_processor.frame(tokenizer.json)
    for text, row, n in zip(texts, wanted["tokens"], wanted["lengths"], strict=True):
        assert [*before, *tokenizer.encode(text), *after] == row[:n].tolist()


def test_a_frame_that_is_none():
    value = json.loads((FOLDER / "bert" / "tokenizer.json").read_text())
    other = {**value, "post_processor": None}
    assert post_processor.frame(json.dumps(other)) == ([], [])
    value["post_processor"]["single"][2]["SpecialToken"]["type_id"] = 1
    with pytest.raises(ValueError, match=r"makes \['\[CLS\]', 'a', '\[SEP\]'\] of 'a'"):
        post_processor.frame(json.dumps(value))


@pytest.mark.parametrize("family", FAMILIES)
def test_import_export_import(family, loaded, tmp_path):
    """No bit of the model is lost, nor of the file, but for pooler and head."""
    model, tokenizer, _ = loaded(family)
    directory.save(tmp_path / "m", model, tokenizer)
    value = json.loads((tmp_path / "m" / "config.json").read_text())
    assert value["model_type"] == family and "sentence_transformers" not in value
    again = directory.load(tmp_path / "m")
    assert again.model.config == model.config
    assert again.tokenizer.json == tokenizer.json
    for mine, other in zip(again.model.weights, model.weights, strict=True):
        np.testing.assert_array_equal(mine, other)
    first = safetensors.numpy.load_file(FOLDER / family / FILE)
    second = safetensors.numpy.load_file(tmp_path / "m" / FILE)
    for name, value in first.items():
        renamed = hf.canonical(family, model.config, name)
        if renamed is None:
            assert name.startswith(("pooler.", "cls.")), name
        else:
            np.testing.assert_array_equal(value, second.pop(renamed))
    assert not second


@pytest.mark.parametrize("changes", [{}, {"normalization": "l2", "pooling": "cls"}])
def test_a_model_of_ours_is_written_as_bert(changes, tmp_path):
    sizes = {"vocab_size": 20, "context": 8, "width": 8, "layers": 1, "heads": 2}
    model = models.build("text_encoder", **sizes, **changes)
    directory.save(tmp_path / "m", model)
    assert json.loads((tmp_path / "m/config.json").read_text())["model_type"] == "bert"
    again = directory.load(tmp_path / "m").model
    assert again.config == dataclasses.replace(model.config, mlp_width=32)


def test_what_no_family_says_is_written_as_ours(tmp_path):
    config = Config(vocab_size=20, width=8, layers=1, heads=2, position_offset=5)
    model = registry.build_config(config)
    directory.save(tmp_path / "m", model)
    assert directory.fields_of(config)["model_type"] == "zoo-text_encoder"
    assert directory.load(tmp_path / "m").model.config == config


def test_old_names_of_tensors():
    value = {**read("bert"), "architectures": ["BertModel"]}
    config = hf.from_hf(value, "config.json")
    names = {
        "bert.embeddings.LayerNorm.gamma": "embeddings.LayerNorm.weight",
        "bert.encoder.layer.0.output.LayerNorm.beta": (
            "encoder.layer.0.output.LayerNorm.bias"
        ),
        "encoder.layer.0.output.dense.bias": "encoder.layer.0.output.dense.bias",
        "bert.embeddings.position_ids": None,
        "bert.pooler.dense.weight": None,
        "cls.predictions.bias": None,
        "classifier.weight": "classifier.weight",  # refused as unknown
    }
    for hf_name, wanted in names.items():
        assert hf.canonical("bert", config, hf_name) == wanted
    config = hf.from_hf(read("roberta"), "config.json")
    assert hf.canonical("roberta", config, "lm_head.dense.bias") is None
    assert hf.canonical("roberta", config, "roberta.embeddings.x") == "embeddings.x"


def test_a_directory_without_the_extra_files(copied):
    folder = copied("roberta")
    (folder / "modules.json").unlink()
    change(folder / "config.json", sentence_transformers={"pooling": "cls"})
    config = directory.load(folder).model.config
    assert (config.pooling, config.normalization) == ("mean", "none")


def test_the_extra_files_in_the_cache_of_the_hub(copied, tmp_path):
    """There every file is a link to a blob."""
    folder, snapshot = copied("roberta"), tmp_path / "hub/snapshots/1f3a"
    blobs = tmp_path / "hub/blobs"
    blobs.mkdir(parents=True)
    for i, path in enumerate(p for p in folder.rglob("*") if p.is_file()):
        path.rename(blobs / str(i))
        link = snapshot / path.relative_to(folder)
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(blobs / str(i))
    assert directory.load(snapshot).model.config.pooling == "cls"


# ---- what is refused ----


@pytest.mark.parametrize(
    "family, changes, words",
    [
        (
            "bert",
            {"position_embedding_type": "relative_key"},
            "position_embedding_type 'relative_key'; allowed: absolute",
        ),
        ("bert", {"is_decoder": True}, "is_decoder True; allowed: False"),
        ("bert", {"hidden_act": "gelu_10"}, "activation 'gelu_10'. Did you mean gelu"),
        ("bert", {"num_attention_heads": 5}, "heads: 5 does not divide width 32"),
        ("bert", {"max_position_embeddings": "64"}, "'64' is not an integer"),
        ("roberta", {"pad_token_id": None}, "pad_token_id None is not an integer"),
        ("roberta", {"max_position_embeddings": 2}, "context: 0, at least 1 allowed"),
        ("bert", {"model_type": "berd"}, "model_type 'berd'. Did you mean bert?"),
    ],
    ids=str,
)
def test_refused_configs(family, changes, words):
    with pytest.raises(ValueError) as error:
        hf.from_hf({**read(family), **changes}, "DIR/config.json")
    message = str(error.value)
    assert message.startswith("DIR/config.json: ") and words in message
    assert "\n" not in message


STEPS = json.loads((FOLDER / "bert/modules.json").read_text())
DENSE = {"type": "sentence_transformers.models.Dense", "path": "2_Dense"}


@pytest.mark.parametrize(
    "name, value, words",
    [
        ("modules.json", {}, "holds a dict, expected a list"),
        ("modules.json", [1], "modules.json: 1 has no type or no path"),
        ("modules.json", [*STEPS[:2], DENSE], "the steps Transformer, Pooling, Dense"),
        ("modules.json", STEPS[:1], "the steps Transformer; Transformer, Pooling, No"),
        (
            "modules.json",
            [{**STEPS[0], "path": "0_Transformer"}, *STEPS[1:]],
            "path '0_Transformer' of the first step",
        ),
        (
            "modules.json",
            [STEPS[0], {**STEPS[1], "path": "../bert/1_Pooling"}],
            "'../bert/1_Pooling' is not the name of a file in it",
        ),
        (
            "1_Pooling/config.json",
            {"pooling_mode_max_tokens": True},
            "the poolings pooling_mode_max_tokens; one of ",
        ),
        ("1_Pooling/config.json", {}, "the poolings none; one of "),
        ("1_Pooling/config.json", {"pooling_mode": "max"}, "the poolings max; one of"),
        (
            "1_Pooling/config.json",
            {"pooling_mode_cls_token": True, "pooling_mode_mean_tokens": True},
            "the poolings pooling_mode_cls_token, pooling_mode_mean_tokens; one of ",
        ),
        ("sentence_bert_config.json", {"do_lower_case": True}, "do_lower_case True"),
        (
            "config_sentence_transformers.json",
            {"default_prompt_name": "query"},
            "default_prompt_name 'query', None allowed",
        ),
    ],
    ids=str,
)
def test_refused_files(name, value, words, copied):
    folder = copied("bert")
    (folder / name).write_text(json.dumps(value))
    with pytest.raises(ValueError) as error:
        directory.load(folder)
    message = str(error.value)
    assert message.startswith(str(folder)) and words in message
    assert "\n" not in message


def test_the_newer_way_to_say_the_pooling(copied):
    folder = copied("bert")
    (folder / "1_Pooling/config.json").write_text('{"pooling_mode": "cls"}')
    assert directory.load(folder).model.config.pooling == "cls"


def test_a_link_out_of_the_folder_is_refused(copied, tmp_path):
    folder = copied("bert")
    (folder / "1_Pooling").rename(tmp_path / "outside")
    (folder / "1_Pooling").symlink_to(tmp_path / "outside")
    with pytest.raises(ValueError, match="is a link out of the folder"):
        directory.load(folder)


def test_a_head_that_is_no_mask_is_refused(copied):
    folder = copied("bert")
    tensors = safetensors.numpy.load_file(folder / FILE)
    tensors["classifier.weight"] = np.zeros((2, 32), np.float32)
    safetensors.numpy.save_file(tensors, folder / FILE)
    with pytest.raises(ValueError, match="unknown tensors: classifier.weight"):
        directory.load(folder)


# ---- as other programs read it ----


@pytest.mark.long
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("family", FAMILIES)
def test_transformers_reads_what_we_write(family, loaded, tmp_path):
    torch = pytest.importorskip("torch")
    transformers = pytest.importorskip("transformers")
    model, tokenizer, _ = loaded(family)
    directory.save(tmp_path / "m", model, tokenizer)
    hf_name, report = transformers.AutoModel.from_pretrained(
        tmp_path / "m", attn_implementation="eager", output_loading_info=True
    )
    assert set(report.pop("missing_keys")) <= {
        "pooler.dense.weight",
        "pooler.dense.bias",
    }
    assert not any(report.values()), report
    wanted = golden(family)
    mask = np.arange(wanted["tokens"].shape[1]) < wanted["lengths"][:, None]
    with torch.no_grad():
        x = hf_name(
            torch.tensor(wanted["tokens"]).long(),
            attention_mask=torch.tensor(mask).long(),
        ).last_hidden_state.numpy()
    assert np.abs(x - wanted["features"])[mask].max() < 1e-5
