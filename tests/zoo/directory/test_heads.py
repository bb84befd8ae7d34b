"""Models with heads as transformers made them: the same answers, and written back.

The golden files in `families/heads` are tiny random checkpoints with what transformers
says of them; `families/make_heads.py` made them.
"""

import dataclasses
import json
import pathlib
import shutil

import h5py
import numpy as np
import pytest
import safetensors.numpy
import tensorflow as tf

from zoo import directory, registry
from zoo.directory import assemble, hf
from zoo.directory.gguf import writer as gguf
from zoo.directory.hf import heads
from zoo.models.headed import Config
from zoo.models.recurrent_lm import Config as Recurrent
from zoo.models.text_encoder import Config as Encoder
from zoo.models.transformer_lm import Config as Decoder
from zoo.text.importers import post_processor

FAMILIES = pathlib.Path(__file__).parent / "families"
FOLDER = FAMILIES / "heads"
NAMES = sorted(path.parent.name for path in FOLDER.glob("*/config.json"))
FILE = "model.safetensors"
ENTITIES = "O B-MISC I-MISC B-PER I-PER B-ORG I-ORG B-LOC I-LOC".split()
SIZES = {"vocab_size": 20, "context": 8, "width": 8, "layers": 1, "heads": 2}


@pytest.fixture(scope="module")
def loaded():
    """The models of the golden files, each read once."""
    made = {}

    def get(name):
        if name not in made:
            made[name] = directory.load(FOLDER / name).model
        return made[name]

    return get


@pytest.fixture
def copied(tmp_path):
    def copy(name):
        return pathlib.Path(shutil.copytree(FOLDER / name, tmp_path / name))

    return copy


def golden(name):
    return np.load(FOLDER / name / "golden.npz")


def read(path):
    return json.loads((path / "config.json").read_text())


def change(path, **fields):
    (path / "config.json").write_text(json.dumps({**read(path), **fields}))


def tensors(path):
    return safetensors.numpy.load_file(path / FILE)


def difference(model, name):
    """The largest distance from the answers of transformers, at real tokens."""
    wanted = golden(name)
    y = model(tf.constant(wanted["tokens"]), tf.constant(wanted["lengths"])).numpy()
    if y.ndim < 3:
        return np.abs(y.reshape(wanted["logits"].shape) - wanted["logits"]).max()
    real = np.arange(y.shape[1]) < wanted["lengths"][:, None]
    return np.abs(y - wanted["logits"])[real].max()


def family_of(name):
    return name.rpartition("_")[0]


def test_every_head_is_here():
    task = {"classify": "classify", "tag": "tag", "fill_mask": "mask"}
    wanted = {f"{f}_{task[h.task]}" for f, found in heads.HEADS.items() for h in found}
    assert heads.HEADS.keys() == hf.DECODERS.keys() | hf.ENCODERS.keys()
    assert wanted | {"bert_regress", "gpt2_regress"} == set(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_answers(name, loaded):
    """The answers are equal on ragged batches, whatever the padding is."""
    model, wanted = loaded(name), golden(name)
    assert np.abs(wanted["logits"]).max() > 0.9
    assert difference(model, name) < 1e-5
    real = np.arange(wanted["tokens"].shape[1]) < wanted["lengths"][:, None]
    other = tf.constant(np.where(real, wanted["tokens"], 7))
    lengths = tf.constant(wanted["lengths"])
    first = model(tf.constant(wanted["tokens"]), lengths).numpy()
    second = model(other, lengths).numpy()
    if first.ndim == 3:
        first, second = first[real], second[real]
    np.testing.assert_array_equal(first, second)


@pytest.mark.parametrize("name", ["bert_classify", "llama_classify", "llama_tag"])
def test_the_choices_of_a_head_matter(name, loaded):
    model = loaded(name)
    changes = [{"pooling": "mean"}, {"hidden": False}, {"bias": False}]
    for fields in changes:
        config = dataclasses.replace(model.config, **fields)
        if config == model.config or name == "llama_tag" and "pooling" in fields:
            continue
        other = registry.build_config(config)
        values = assemble.by_path(model)
        for path, variable in assemble.by_path(other).items():
            variable.assign(values[path])
        assert difference(other, name) > 0.05, fields


def test_what_the_configs_say(loaded):
    tag = loaded("bert_tag").config
    assert (tag.task, tag.classes, tag.labels) == ("tag", 9, tuple(ENTITIES))
    assert (tag.dropout, tag.pooling, tag.hidden) == (0.1, "", False)
    sst2 = loaded("bert_classify").config
    assert (sst2.task, sst2.labels) == ("classify", ("LABEL_0", "LABEL_1"))
    assert (sst2.pooling, sst2.hidden, sst2.bias) == ("first", True, True)
    tweets = loaded("roberta_classify").config
    assert tweets.labels == ("LABEL_0", "LABEL_1", "LABEL_2")
    assert tweets.body.position_offset == 2
    for name in ("bert_regress", "gpt2_regress"):
        config = loaded(name).config
        assert (config.task, config.classes, config.labels) == ("regress", 0, ())
    last = loaded("llama_classify").config
    assert (last.pooling, last.hidden, last.bias) == ("last", False, False)
    assert (last.labels, last.vocab_size, last.context) == (
        ("bad", "fair", "good"),
        30,
        16,
    )
    mask = loaded("roberta_mask").config
    assert (mask.task, mask.hidden, mask.dropout) == ("fill_mask", True, 0.0)


@pytest.mark.parametrize("name", NAMES)
def test_import_export_import(name, loaded, tmp_path):
    """No bit of the model is lost, nor of the file."""
    model = loaded(name)
    directory.save(tmp_path / "m", model)
    again = directory.load(tmp_path / "m").model
    assert hf.with_defaults(again.config) == hf.with_defaults(model.config)
    for mine, other in zip(again.weights, model.weights, strict=True):
        np.testing.assert_array_equal(mine, other)
    first, second = tensors(FOLDER / name), tensors(tmp_path / "m")
    assert first.keys() == second.keys()
    for key, value in first.items():
        np.testing.assert_array_equal(value, second[key])


@pytest.mark.parametrize("name", NAMES)
def test_is_written_as_itself(name, loaded):
    theirs, value = read(FOLDER / name), hf.to_hf(loaded(name).config)
    assert value["model_type"] == theirs["model_type"] == family_of(name)
    assert value["architectures"] == theirs["architectures"]
    assert "zoo" not in value and "sentence_transformers" not in value
    problem = {"classify": "single_label_classification", "regress": "regression"}
    assert value.get("problem_type") == problem.get(name.rpartition("_")[2])
    if name.endswith("_mask"):
        assert "id2label" not in value
    else:
        labels = theirs.get("id2label", {"0": "LABEL_0", "1": "LABEL_1"})
        assert value["id2label"] == labels
        assert value["label2id"] == {name: int(i) for i, name in labels.items()}


# ---- models of ours ----


ENCODER = Encoder(**SIZES, pooling="mean", normalization="l2")
DECODER = Decoder(**SIZES, tied_head=False)
FIRST = {"pooling": "first", "hidden": True}


@pytest.mark.parametrize(
    "config, architecture",
    [
        (Config(body=ENCODER, classes=3, **FIRST), "BertForSequenceClassification"),
        (
            Config(body=ENCODER, task="regress", **FIRST),
            "BertForSequenceClassification",
        ),
        (
            Config(body=ENCODER, labels=("a", "b"), dropout=0.3, **FIRST),
            "BertForSequenceClassification",
        ),
        (Config(body=ENCODER, task="tag"), "BertForTokenClassification"),
        (Config(body=ENCODER, task="fill_mask", hidden=True), "BertForMaskedLM"),
        (Config(body=DECODER, bias=False), "GPT2ForSequenceClassification"),
        (Config(body=DECODER, task="tag"), "GPT2ForTokenClassification"),
        (
            Config(body=DECODER, bias=False, dropout=0.2),
            "GPT2ForSequenceClassification",
        ),
        (Config(body=ENCODER), None),  # the mean of the tokens
        (Config(body=ENCODER, pooling="first"), None),
        (Config(body=ENCODER, task="tag", hidden=True), None),
        (Config(body=ENCODER, task="fill_mask"), None),
        (Config(body=DECODER), None),  # with a bias
        (Config(body=DECODER, bias=False, pooling="mean"), None),
        (Config(body=Recurrent(vocab_size=20, width=8, units=8, layers=1)), None),
    ],
    ids=lambda value: value or "zoo-headed" if not isinstance(value, Config) else "",
)
def test_a_model_of_ours(config, architecture, tmp_path):
    model = registry.build_config(config)
    for i, weight in enumerate(model.weights):
        weight.assign(tf.random.stateless_normal(weight.shape, [i, 5]))
    directory.save(tmp_path / "m", model)
    value = read(tmp_path / "m")
    if architecture is None:
        assert value["model_type"] == "zoo-headed"
    else:
        assert value["architectures"] == [architecture]
    again = directory.load(tmp_path / "m").model
    if architecture is None:
        assert again.config == config
    assert (again.config.task, again.config.dropout) == (config.task, config.dropout)
    assert again.config.labels == config.labels or not config.labels
    assert hf.to_hf(again.config) == hf.to_hf(config)
    tokens = tf.constant([[3, 1, 4, 1, 5], [9, 2, 6, 0, 0]])
    lengths = tf.constant([5, 3])
    np.testing.assert_array_equal(again(tokens, lengths), model(tokens, lengths))


def test_so_many_classes_have_no_names():
    assert hf.to_hf(Config(body=ENCODER, classes=10**12, **FIRST)) is None


def test_a_directory_with_another_dropout(tmp_path):
    config = Config(body=dataclasses.replace(ENCODER, dropout=0.2), classes=3)
    directory.save(tmp_path / "m", registry.build_config(config))
    found = directory.read(tmp_path / "m")
    body = dataclasses.replace(config.body, dropout=0.0)
    other = dataclasses.replace(config, body=body, dropout=0.4)
    model = assemble.assemble(found, other).model
    assert (model.config.dropout, model.config.body.dropout) == (0.4, 0.0)
    with pytest.raises(ValueError, match="'pooling'|zoo"):
        assemble.assemble(found, dataclasses.replace(other, pooling="first"))


def test_the_tokenizer_has_its_frame_and_padding(copied):
    """transformers finds a text's last token by the id of the padding."""
    tokenizer = directory.read_tokenizer(FAMILIES / "encoders/bert")
    before, after = post_processor.frame(tokenizer.json)
    config = Config(body=Decoder(**{**SIZES, "vocab_size": 80}), bias=False)
    folder = copied("gpt2_classify").parent / "m"
    directory.save(folder, registry.build_config(config), tokenizer)
    assert read(folder)["pad_token_id"] == tokenizer.end_id
    again = directory.load(folder)
    assert post_processor.frame(again.tokenizer.json) == (before, after) == ([2], [3])
    small = Config(body=Recurrent(vocab_size=20, width=8, units=8, layers=1))
    model = registry.build_config(small)
    directory.save(folder.parent / "n", model, tokenizer)
    with pytest.warns(UserWarning, match="has 73 tokens, the model 20 rows"):
        directory.read_tokenizer(folder.parent / "n")


def test_gguf_has_no_heads(loaded, tmp_path):
    with pytest.raises(ValueError, match="GGUF: a model of the kind headed; a transf"):
        gguf.write(tmp_path / "m.gguf", loaded("llama_classify"), None)


# ---- files of others ----


def test_masked_language_models_without_modules_json(tmp_path):
    """The architecture decides; the files of sentence-transformers decide otherwise."""
    folder = pathlib.Path(shutil.copytree(FAMILIES / "encoders/bert", tmp_path / "m"))
    encoder = directory.load(folder).model
    assert isinstance(encoder.config, Encoder)
    (folder / "modules.json").unlink()
    found = directory.load(folder)
    assert found.model.config.task == "fill_mask"
    assert post_processor.frame(found.tokenizer.json) == ([2], [3])
    tokens = tf.constant([[2, 9, 4, 3]])
    x = found.model.body.features(tokens)
    np.testing.assert_array_equal(x, encoder.features(tokens))
    change(folder, architectures=["BertForPreTraining"])
    assert isinstance(directory.load(folder).model.config, Encoder)


@pytest.mark.parametrize("name", ["bert_regress", "qwen3_classify"])
def test_cross_encoders_of_sentence_transformers(name, copied):
    """They have no modules.json, but a field in config.json."""
    folder = copied(name)
    field = {"activation_fn": "torch.nn.modules.linear.Identity", "version": "4.1.0"}
    change(folder, sentence_transformers=field)
    assert difference(directory.load(folder).model, name) < 1e-5


def test_names_and_copies_of_old_files(copied):
    """The file of bert-base-uncased, and what torch.save wrote beside it."""
    folder, wanted = copied("bert_mask"), golden("bert_mask")
    found = tensors(folder)
    table = found["bert.embeddings.word_embeddings.weight"]
    old = {
        name.replace("Norm.weight", "Norm.gamma").replace("Norm.bias", "Norm.beta"): x
        for name, x in found.items()
    }
    old["bert.pooler.dense.weight"] = np.zeros((8, 8), np.float32)
    old["cls.seq_relationship.bias"] = np.zeros(2, np.float32)
    old["cls.predictions.decoder.weight"] = table.copy()
    old["cls.predictions.decoder.bias"] = found["cls.predictions.bias"].copy()
    old["bert.embeddings.position_ids"] = np.arange(16, dtype=np.int64)
    safetensors.numpy.save_file(old, folder / FILE)
    assert difference(directory.load(folder).model, "bert_mask") < 1e-5
    assert wanted["logits"].shape[2] == 30
    for copy, original in (
        ("decoder.weight", "bert.embeddings.word_embeddings.weight"),
        ("decoder.bias", "cls.predictions.bias"),
    ):
        name = f"cls.predictions.{copy}"
        safetensors.numpy.save_file({**old, name: old[name] + 1}, folder / FILE)
        with pytest.raises(ValueError, match=f"ties the tensors {original} and {name}"):
            directory.load(folder)


def test_a_classifier_beside_other_heads(copied):
    """Poolers and heads for masks and next tokens are not needed, and not read."""
    for name, extra in (
        ("bert_tag", "bert.pooler.dense.weight"),
        ("bert_classify", "cls.predictions.bias"),
        ("roberta_classify", "lm_head.dense.weight"),
        ("llama_classify", "lm_head.weight"),
        ("gpt_neox_tag", "embed_out.weight"),
    ):
        folder = copied(name)
        more = {extra: np.zeros((2, 3), np.float32)}
        safetensors.numpy.save_file(tensors(folder) | more, folder / FILE)
        assert difference(directory.load(folder).model, name) < 1e-5


def test_tf_model_h5(copied):
    folder = copied("roberta_classify")
    scope = "tf_roberta_for_sequence_classification"
    with h5py.File(folder / "tf_model.h5", "w") as file:
        for name, value in tensors(folder).items():
            path, _, end = name.replace(".", "/").rpartition("/")
            path = path.replace("encoder/layer/0", "encoder/layer_._0")
            kernel = value.ndim == 2 and "embeddings" not in name
            end = {True: "kernel"}.get(kernel, end)
            layer = name.split(".")[0]
            file[f"{layer}/{scope}/{path}/{end}:0"] = value.T if kernel else value
    (folder / FILE).unlink()
    assert difference(directory.load(folder).model, "roberta_classify") < 1e-5


@pytest.mark.parametrize(
    "name, missing",
    [
        ("bert_classify", "bert.pooler.dense.weight"),
        ("bert_classify", "classifier.bias"),
        ("roberta_classify", "classifier.out_proj.weight"),
        ("roberta_tag", "classifier.weight"),
        ("bert_mask", "cls.predictions.transform.LayerNorm.bias"),
        ("roberta_mask", "lm_head.bias"),
        ("llama_classify", "score.weight"),
        ("gpt2_tag", "classifier.weight"),
    ],
)
def test_a_directory_without_the_head(name, missing, copied):
    folder = copied(name)
    less = {key: x for key, x in tensors(folder).items() if key != missing}
    safetensors.numpy.save_file(less, folder / FILE)
    with pytest.raises(ValueError, match=f"{name}: the tensor {missing} is missing"):
        directory.load(folder)


def test_tensors_that_are_refused(copied):
    folder = copied("bert_classify")
    more = {"qa_outputs.weight": np.zeros((2, 8), np.float32)}
    safetensors.numpy.save_file(tensors(folder) | more, folder / FILE)
    with pytest.raises(ValueError, match="unknown tensors: qa_outputs.weight"):
        directory.load(folder)
    change(folder, num_hidden_layers=10**9)
    with pytest.raises(ValueError, match="says 1000000000 layers, but there are 2"):
        directory.load(folder)
    folder = copied("llama_classify")
    change(folder, id2label={"0": "a", "1": "b"})
    with pytest.raises(
        ValueError, match=r"score.weight has shape \(3, 8\), .*\(2, 8\)"
    ):
        directory.load(folder)


# ---- as other programs read it ----


@pytest.mark.long
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", NAMES)
def test_transformers_reads_what_we_write(name, loaded, tmp_path):
    torch = pytest.importorskip("torch")
    transformers = pytest.importorskip("transformers")
    directory.save(tmp_path / "m", loaded(name))
    change(tmp_path / "m", pad_token_id=read(FOLDER / name)["pad_token_id"])
    (architecture,) = read(tmp_path / "m")["architectures"]
    model, report = getattr(transformers, architecture).from_pretrained(
        tmp_path / "m", attn_implementation="eager", output_loading_info=True
    )
    assert not any(report.values()), report
    wanted = golden(name)
    mask = np.arange(wanted["tokens"].shape[1]) < wanted["lengths"][:, None]
    with torch.no_grad():
        logits = model(
            torch.tensor(wanted["tokens"]).long(),
            attention_mask=torch.tensor(mask).long(),
        ).logits.numpy()
    difference = np.abs(logits - wanted["logits"])
    assert (difference[mask] if logits.ndim == 3 else difference).max() < 1e-5
