"""The folder of a version: its number, its files, and nothing after a failure."""

import json
import os
import pathlib
import re
import runpy
import types

import numpy as np
import pytest
import tensorflow as tf
import tokenizers
from tensorflow.core.protobuf import saved_model_pb2

from zoo import models
from zoo.directory import GenerationConfig, Loaded
from zoo.generation_config import KNOBS
from zoo.saved_model import request_examples, writer
from zoo.saved_model.checker import c_api, examples
from zoo.saved_model.signatures.language_model import TextGenerator
from zoo.text.tokenizer import END, Tokenizer

ROOT = pathlib.Path(__file__).parents[3]
FAMILIES = ["transformer_lm", "lstm_lm", "gru_lm", "rnn_lm"]


@pytest.fixture
def net():
    """The model that is the quickest to export."""
    return Loaded(
        models.build("dense_net", features=2, classes=2), None, GenerationConfig()
    )


def language_model(tokenizer):
    fields = {"vocab_size": 300, "context": 16, "width": 8, "layers": 1, "heads": 2}
    return Loaded(
        models.build("transformer_lm", **fields), tokenizer, GenerationConfig()
    )


def names(folder):
    return sorted(path.name for path in folder.iterdir())


# ---- versions ----


def test_numbers(tmp_path, net):
    base = tmp_path / "not" / "there"
    assert writer.write(base, net) == base / "1"
    assert writer.write(base, net, version=7) == base / "7"
    (base / "notes").mkdir()
    (base / "11.old").mkdir()
    assert writer.write(base, net) == base / "8"
    assert writer.write(base, net, version=3) == base / "3"
    assert names(base) == ["1", "11.old", "3", "7", "8", "notes"]


def test_a_version_that_is_there_is_refused(tmp_path, net):
    (tmp_path / "2").mkdir()
    (tmp_path / "2" / "file").write_text("kept")
    with pytest.raises(ValueError, match=r"2: is not empty"):
        writer.write(tmp_path, net, version=2)
    assert names(tmp_path) == ["2"] and names(tmp_path / "2") == ["file"]


def test_a_base_that_is_a_file_is_refused(tmp_path, net):
    (tmp_path / "base").write_text("kept")
    with pytest.raises(ValueError, match="base: is a file; a folder for versions"):
        writer.write(tmp_path / "base", net)
    assert (tmp_path / "base").read_text() == "kept"


@pytest.mark.parametrize("place", [(tf.saved_model, "save"), (writer, "Graph")])
def test_nothing_is_left_of_an_export_that_fails(tmp_path, net, monkeypatch, place):
    writer.write(tmp_path, net)
    save, seen = tf.saved_model.save, []

    def fail(*args):
        if place[1] == "save":
            save(*args)
        seen.extend(names(tmp_path))
        raise OSError("no space left")

    with monkeypatch.context() as patch:
        patch.setattr(*place, fail)
        with pytest.raises(OSError, match="no space left"):
            writer.write(tmp_path, net)
    assert len(seen) == 2 and "2" not in seen  # nor is it seen before it is whole
    assert names(tmp_path) == ["1"]
    assert writer.write(tmp_path, net) == tmp_path / "2"


@pytest.mark.parametrize(
    "error, words",
    [
        (tf.errors.ResourceExhaustedError(None, None, "a; No space left\nb"), "a; No"),
        (tf.errors.PermissionDeniedError(None, None, "x: Read-only"), "x: Read-only"),
    ],
)
def test_a_full_disk_is_an_error_of_the_system(
    tmp_path, net, monkeypatch, error, words
):
    def fail(*args):
        raise error

    monkeypatch.setattr(tf.saved_model, "save", fail)
    with pytest.raises(OSError, match=f"{tmp_path}: {words}"):
        writer.write(tmp_path, net)
    assert not names(tmp_path)


def test_a_disk_without_room_is_refused_before_the_work(tmp_path, net, monkeypatch):
    usage = types.SimpleNamespace(free=100)
    monkeypatch.setattr(writer.shutil, "disk_usage", lambda path: usage)
    lines = []
    with pytest.raises(OSError, match="100 bytes are free, an export needs 1,049,"):
        writer.write(tmp_path / "not" / "there", net, report=lines.append)
    assert not lines and not names(tmp_path)


def test_each_stage_is_told(tmp_path, net):
    lines = []
    writer.write(tmp_path, net, report=lines.append)
    assert lines[0] == "building the tokenizer and the signatures"
    assert "tracing the signature classify" in lines
    assert lines[-1].startswith("answering the warm-up request 4 of 4: ")


# ---- defaults and examples that fit ----


@pytest.mark.parametrize("default, most, wanted", [(64, 0, 8), (15, 4, 4)])
def test_the_default_leaves_room_for_a_prompt(tokenizer, default, most, wanted):
    model, _, _ = language_model(tokenizer)  # of 16 positions
    generation = GenerationConfig(max_new_tokens=default, top_k=999)
    module = TextGenerator(model, tokenizer, generation, most_new_tokens=most)
    assert module.generation.max_new_tokens == wanted
    assert module.generation.top_k == 300
    parts, prompts = module.signatures(), tf.constant(["ab", "\0" * 14])
    assert parts["serving_default"][0](prompts)["text"].shape == (2,)
    if most:
        knobs = {**parts["generate"][2], "max_new_tokens": tf.constant([most + 1])}
        with pytest.raises(tf.errors.InvalidArgumentError, match="has 5, 1 to 4 allo"):
            module.generate(tf.constant(["a"]), **knobs)


@pytest.mark.parametrize("limit, new, capacity", [(64, 32, 24), (16, 8, 16), (4, 3, 9)])
def test_examples_fit(tokenizer, limit, new, capacity):
    row = request_examples.of_language(tokenizer, limit, new, capacity, chat=False)
    prompt = len(tokenizer.encode(row["prompt"]))
    assert 1 <= prompt <= min(limit - new, capacity)
    assert prompt + len(tokenizer.encode(row["completion"])) <= limit
    assert len(tokenizer.encode(row["text"])) <= limit


# ---- what cannot be exported ----


def test_a_language_model_without_a_tokenizer_is_refused(tmp_path):
    with pytest.raises(ValueError, match="the model directory has no tokenizer.json"):
        writer.write(tmp_path / "base", language_model(None))
    assert not (tmp_path / "base").exists()


def test_a_tokenizer_that_has_no_exact_graph_is_refused(tmp_path, tokenizer):
    words = tokenizers.models.WordLevel({END: 0, "a": 1}, unk_token=END)
    dropping = json.loads(tokenizer.json)
    dropping["model"]["dropout"] = 0.1
    for text, reason in (
        (tokenizers.Tokenizer(words).to_str(), "model.type 'WordLevel', allowed: "),
        (json.dumps(dropping), "model.dropout 0.1, allowed: None"),
    ):
        with pytest.raises(ValueError) as error:
            writer.write(tmp_path / "base", language_model(Tokenizer(text)))
        message = str(error.value)
        assert message.startswith("tokenizer.json cannot be put in the graph: ")
        assert reason in message
    assert not (tmp_path / "base").exists()


# ---- what is in it ----


@pytest.mark.parametrize("family", FAMILIES)
def test_the_variables_are_the_weights_once(served, family):
    one = served(family)
    reader = tf.train.load_checkpoint(str(one.folder / "variables" / "variables"))
    stored = [n for n in reader.get_variable_to_shape_map() if "OBJECT" not in n]
    weights = one.loaded.model.weights
    wanted = {f"weights/{i}/.ATTRIBUTES/VARIABLE_VALUE" for i in range(len(weights))}
    assert set(stored) == wanted
    for i, weight in enumerate(weights):
        value = reader.get_tensor(f"weights/{i}/.ATTRIBUTES/VARIABLE_VALUE")
        np.testing.assert_array_equal(value, weight.numpy())
    size = sum(f.stat().st_size for f in (one.folder / "variables").iterdir())
    weights = (one.source / "model.safetensors").stat().st_size
    assert abs(size - weights) < 8192  # names and the graph of objects


@pytest.mark.parametrize("family", ["transformer_lm", "lstm_lm"])
def test_no_keras_object_is_in_it(served, family):
    one = served(family)
    assert not list(one.folder.glob("**/*keras*"))
    content = (one.folder / "saved_model.pb").read_bytes()
    (meta_graph,) = saved_model_pb2.SavedModel.FromString(content).meta_graphs
    nodes = meta_graph.object_graph_def.nodes
    assert not [n for n in nodes if "keras" in n.user_object.identifier]
    children = {child.local_name: child.node_id for child in nodes[0].children}
    assert {"weights", "graph_tokenizer", "signatures"} <= set(children)
    variables = {i for i, node in enumerate(nodes) if node.HasField("variable")}
    assert len(variables) == len(one.loaded.model.weights)
    owners = {
        i
        for i, node in enumerate(nodes)
        if variables & {child.node_id for child in node.children}
    }
    assert owners == {children["weights"]}  # a model would own them too


def test_a_server_has_nothing_left_to_optimize(served):
    """Each function says that it is ready, and a loop keeps no call when it runs."""
    folder = served("transformer_lm").folder
    content = (folder / "saved_model.pb").read_bytes()
    (meta_graph,) = saved_model_pb2.SavedModel.FromString(content).meta_graphs
    functions = {f.signature.name: f for f in meta_graph.graph_def.library.function}
    assert all(f.attr["_tf_data_function"].b for f in functions.values())
    loops = [n for f in functions.values() for n in f.node_def if "body" in n.attr]
    reached = {loop.attr["body"].func.name for loop in loops}
    waiting, blocks = list(reached), []
    while waiting:  # the branches of conditionals, and blocks, which are calls
        for node in functions[waiting.pop()].node_def:
            if "Call" in node.op:
                blocks.append(node.attr["f"].func.name)
            branches = "then_branch", "else_branch", "f"
            new = {node.attr[key].func.name for key in branches} - reached - {""}
            waiting.extend(new)
            reached |= new
    assert blocks, "each block has a body of its own"
    # the server puts the bodies in the places of the calls
    assert not [name for name in blocks if functions[name].attr["_noinline"].b]
    # one row has products of its own
    ops = {n.op for name in reached for n in functions[name].node_def}
    assert {"BatchMatMulV2", "BatchMatMulV3"} <= ops
    assert all(n.attr["_lower_using_switch_merge"].b for n in loops)
    assert tf.saved_model.experimental.read_fingerprint(os.fspath(folder))


@pytest.mark.parametrize("family", ["transformer_lm", "gru_lm"])
def test_signature_json_is_what_the_graph_says(served, family):
    one = served(family)
    text = (one.folder / "assets.extra" / "signature.json").read_text(encoding="utf-8")
    content = json.loads(text)
    assert content["format"] == 1
    session, described = one.session, content["signatures"]
    assert set(described) == set(session.signatures)
    for name, about in described.items():
        signature = session.signatures[name]
        for ports, said in (
            (signature.inputs, about["inputs"]),
            (signature.outputs, about["outputs"]),
        ):
            assert {key: (p.dtype, list(p.shape)) for key, p in ports.items()} == {
                key: (entry["dtype"], entry["shape"]) for key, entry in said.items()
            }
        defaults = {
            k: e["default"] for k, e in about["inputs"].items() if "default" in e
        }
        assert set(defaults) == set(signature.defaults)
    inputs, said = described["generate"]["inputs"], one.loaded.generation
    wanted = {knob.name: getattr(said, knob.name) for knob in KNOBS}
    wanted["stop"] = list(said.stop) or [""]
    for name, value in wanted.items():
        default = inputs[name]["default"]
        assert default == (value if name == "stop" else pytest.approx(value, rel=1e-6))


def test_documented_examples_are_answered(plain):
    described = examples.documented(str(plain.folder))
    for name, about in described.items():
        if name == "step":
            continue  # nobody can give the state an example
        row, known = examples.row(plain.session.signatures[name], about)
        assert known
        outputs = plain.session.run(name, examples.batch([row, row]))
        for key, entry in about["outputs"].items():
            assert outputs[key].shape[0] == 2
            assert outputs[key].dtype == entry["dtype"]


def test_the_program_of_the_page_fills_in_the_defaults(served, tmp_path, capsys):
    one = served("gru_lm")
    page = (ROOT / "docs/serving.md").read_text(encoding="utf-8")
    (program,) = re.findall(r"^```python\n(.*?)^```", page, re.S | re.M)
    file = tmp_path / "program.py"
    file.write_text(program.replace("runs/demo/served/1", str(one.folder)), "utf-8")
    runpy.run_path(str(file))
    answer = one.run("generate", prompt=["In the beginning"], temperature=[0.7])
    assert capsys.readouterr().out == answer["text"][0].decode() + "\n"


@pytest.mark.parametrize("capacity, wanted", [(6, 6), (16, 16), (1024, 16)])
def test_the_capacity_is_at_most_the_context(tokenizer, capacity, wanted):
    module = TextGenerator(*language_model(tokenizer), capacity=capacity)
    assert module.capacity == wanted
    # caches have a multiple of 16 places
    assert module.start(tf.constant(["a"]))["state_1"].shape == (1, 2, 16, 4)


def test_a_dense_net(tmp_path, net):
    folder = writer.write(tmp_path, net)
    about = examples.documented(str(folder))["classify"]
    assert about["inputs"] == {
        "features": {"dtype": "float32", "shape": [None, 2], "example": [0.0, 0.0]}
    }
    with c_api.Session(str(folder)) as session:
        row, known = examples.row(session.signatures["classify"], about)
        assert known and set(session.run("classify", examples.batch([row]))) == set(
            about["outputs"]
        )
