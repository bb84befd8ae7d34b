"""Tensors as plain values."""

import array
import math

import numpy as np
import pytest
import tensorflow as tf

from zoo.saved_model.checker.tensors import DTYPES, Tensor, stack, tensor


def test_types_are_tensorflows():
    for code, (name, _) in DTYPES.items():
        assert tf.dtypes.as_dtype(code).name == name


@pytest.mark.parametrize("dtype", ["float32", "float64", "float16", "int64", "uint8"])
def test_lists_buffers_and_triples_agree(dtype):
    value = np.arange(12).reshape(2, 3, 2).astype(dtype)
    wanted = Tensor(dtype, (2, 3, 2), value.tobytes())
    assert tensor(value.tolist(), dtype) == wanted
    assert tensor(value, dtype) == wanted
    assert tensor((dtype, [2, 3, 2], bytearray(value.tobytes())), dtype) == wanted
    assert wanted.tolist() == value.tolist()
    assert wanted.row(1).tolist() == value[1].tolist()
    assert stack([wanted.row(0), wanted.row(1)]) == wanted


def test_array_bool_scalar_and_empty():
    numbers = array.array("f", [1.5, -2.0])
    assert tensor(numbers, "float32").tolist() == [1.5, -2.0]
    assert tensor([[True], [False]], "bool").tolist() == [[True], [False]]
    assert tensor(7, "int32") == Tensor("int32", (), b"\x07\0\0\0")
    assert tensor(7, "int32").tolist() == 7
    assert tensor([], "int32") == Tensor("int32", (0,), b"")
    assert tensor([], "int32").tolist() == []
    assert tensor([[], []], "float32").tolist() == [[], []]


def test_strings_keep_their_bytes():
    value = tensor([["Ä\0", b"\xff"], [{"b64": "/w=="}, ""]], "string")
    assert value.tolist() == [["Ä\0".encode(), b"\xff"], [b"\xff", b""]]
    assert stack([value.row(0), value.row(1)]) == value


def test_bfloat16_is_read_as_the_upper_half_of_a_float():
    numbers = [1.0, -2.5, math.inf]
    data = tf.constant(numbers, tf.bfloat16).numpy().tobytes()
    assert Tensor("bfloat16", (3,), data).tolist() == numbers


@pytest.mark.parametrize(
    ("value", "dtype", "words"),
    [
        ([[1], [1, 2]], "int32", "different lengths"),
        ([[1], 2], "int32", "different lengths"),
        ([1, [2]], "int32", "different depths"),
        ([1.5], "int32", "not all int32"),
        ([300], "uint8", "not all uint8"),
        (["a"], "float32", "not all float32"),
        ([1], "string", "1 is not a string"),
        (array.array("d", [1.0]), "float32", "a buffer of 'd', expected float32"),
        (("int32", (2,), b"1234"), "int32", "4 elements or bytes do not fill"),
        (("int64", (1,), b"12345678"), "int32", "type int64, expected int32"),
    ],
)
def test_what_does_not_fit_is_refused(value, dtype, words):
    with pytest.raises(ValueError, match=f"^knob: .*{words}"):
        tensor(value, dtype, "knob")


def test_unequal_rows_do_not_stack():
    with pytest.raises(ValueError, match="Rows differ"):
        stack([tensor([1], "int32"), tensor([1, 2], "int32")])
