"""The small protocol buffer reader against protobuf itself."""

import numpy as np
import pytest
import tensorflow as tf
from tensorflow.core.framework import op_def_pb2
from tensorflow.core.protobuf import meta_graph_pb2

from zoo.saved_model.checker import wire


def info(name, dtype, shape):
    return meta_graph_pb2.TensorInfo(
        name=name, dtype=dtype.as_datatype_enum, tensor_shape=shape.as_proto()
    )


def test_signatures():
    meta_graph = meta_graph_pb2.MetaGraphDef()
    meta_graph.graph_def.node.add(name="x", op="Placeholder")
    meta_graph.signature_def["__saved_model_init_op"].outputs["noop"].name = "init"
    signature = meta_graph.signature_def["generate"]
    shape = tf.TensorShape([None, 0, 300])
    signature.inputs["prompt"].CopyFrom(info("p:0", tf.string, shape))
    signature.inputs["any"].CopyFrom(info("a:1", tf.qint8, tf.TensorShape(None)))
    signature.outputs["y"].CopyFrom(info("y:2", tf.bfloat16, tf.TensorShape([])))
    meta_graph.signature_def["empty"].SetInParent()
    found = wire.signatures(meta_graph.SerializeToString())
    assert found == {
        "empty": wire.Signature({}, {}, {}),
        "generate": wire.Signature(
            {
                "any": wire.TensorInfo("a:1", "type 11", None),
                "prompt": wire.TensorInfo("p:0", "string", (None, 0, 300)),
            },
            {"y": wire.TensorInfo("y:2", "bfloat16", ())},
            {},
        ),
    }


@pytest.mark.parametrize(
    "value",
    [
        np.float32([1.5, -0.25]),
        np.float64([[1e300]]),
        np.int32([-3, 5, 7]),
        np.int64([[-(2**62)], [3]]),
        np.uint8([255]),
        np.bool_([True, False]),
        np.zeros([4], np.float32),
        np.full([3, 2], -7, np.int64),
        np.array([[b"", b"\xff\x00"]], object),
        np.array(b"one", object),
        np.float32(2.5),
    ],
    ids=str,
)
@pytest.mark.parametrize("packed", [True, False])
def test_defaults(value, packed):
    proto = tf.make_tensor_proto(value)
    if not packed and value.dtype != object:  # typed fields instead of raw bytes
        field = {"float32": "float_val", "float64": "double_val"}.get(
            value.dtype.name,
            {"int64": "int64_val", "bool": "bool_val"}.get(value.dtype.name, "int_val"),
        )
        proto.ClearField("tensor_content")
        proto.ClearField(field)
        flat = value.flatten().tolist()
        while len(flat) > 1 and flat[-1] == flat[-2]:
            flat.pop()  # as TensorFlow compresses them
        getattr(proto, field).extend(flat)
    meta_graph = meta_graph_pb2.MetaGraphDef()
    meta_graph.signature_def["f"].defaults["x"].CopyFrom(proto)
    found = wire.signatures(meta_graph.SerializeToString())["f"].defaults["x"]
    assert found.shape == value.shape
    assert found.tolist() == value.tolist()


def test_ops():
    ops = op_def_pb2.OpList()
    ops.op.add(name="Add", summary="long " * 99)
    ops.op.add(name="Print", is_stateful=True)
    assert wire.ops(ops.SerializeToString()) == {"Add": False, "Print": True}


@pytest.mark.parametrize("message", [b"\x0a\x05ab", b"\x80", b"\x0f", b"\x09\x01"])
def test_broken_messages_are_refused(message):
    with pytest.raises(ValueError):
        list(wire.fields(memoryview(message)))
