"""The graph reader against protobuf's reading of the same file."""

import pytest
import tensorflow as tf
from tensorflow.core.protobuf import saved_model_pb2

from zoo.saved_model.checker.graph import Graph


class Branches(tf.Module):
    """Calls functions by `If`, `Case` (a list of functions) and `While`."""

    def __init__(self):
        self.weight = tf.Variable(2.0)
        self.unused = tf.Variable(3.0)

    @tf.function(input_signature=[tf.TensorSpec([None], tf.int32, "turn")])
    def turns(self, turn):
        first = tf.reduce_max(turn)
        y = tf.switch_case(first, [lambda: self.weight * 2.0, lambda: tf.sin(1.0)])
        for _ in tf.range(first):
            y = tf.cond(y > 1.0, lambda y=y: tf.cos(y), lambda y=y: tf.exp(y))
        return {"y": tf.fill(tf.shape(turn), y)}

    @tf.function(input_signature=[tf.TensorSpec([None], tf.float32, "x")])
    def compiled(self, x):
        return {"y": self.inner(x) * self.unused}

    @tf.function(jit_compile=True)
    def inner(self, x):
        return tf.tanh(x)


@pytest.fixture(scope="module")
def read(tmp_path_factory):
    path = tmp_path_factory.mktemp("branches") / "1"
    module = Branches()
    signatures = {"turns": module.turns, "compiled": module.compiled}
    tf.saved_model.save(module, str(path), signatures=signatures)
    data = (path / "saved_model.pb").read_bytes()
    return Graph(str(path)), saved_model_pb2.SavedModel.FromString(data).meta_graphs[0]


def called(node):
    for value in node.attr.values():
        yield from (function.name for function in (value.func, *value.list.func))


def test_nodes_and_functions_are_those_of_protobuf(read):
    graph, meta_graph = read
    assert sorted(graph.signatures) == ["compiled", "turns"]
    nodes = [("the graph", node) for node in meta_graph.graph_def.node]
    for function in meta_graph.graph_def.library.function:
        nodes += [(function.signature.name, node) for node in function.node_def]
    found = list(graph.everything())
    assert len(found) == len(nodes) > 50
    for (where, got), (place, node) in zip(found, nodes, strict=True):
        assert (where, got.name, got.op) == (place, node.name, node.op)
        assert got.inputs == [i.lstrip("^").split(":")[0] for i in node.input]
        assert sorted(got.calls) == sorted([node.op, *filter(None, called(node))])


def test_a_signature_reaches_its_own_functions_only(read):
    graph, _ = read
    ops = {name: {n.op for _, n in graph.reached(name)} for name in graph.signatures}
    assert {"Sin", "Cos", "Exp"} <= ops["turns"]
    assert "Tanh" in ops["compiled"]
    assert "Tanh" not in ops["turns"] and "Sin" not in ops["compiled"]
    assert not {"SaveV2", "RestoreV2", "AssignVariableOp"} & (ops["turns"])


def test_compiled_parts_are_known(read):
    graph, _ = read
    assert [name for name in graph.compiled if "inner" in name] == graph.compiled != []
    (where,) = {w for w, n in graph.everything() if n.compiled}
    assert "compiled" in where
