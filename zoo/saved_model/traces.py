"""Traces the signatures of an export."""

import contextlib
import inspect

import tensorflow as tf


@contextlib.contextmanager
def as_written():
    """Runs graphs as they are: to optimize a graph takes longer than its few calls.

    Calls of functions that are traced here keep this setting in a server.
    """
    name, optimizer = "disable_meta_optimizer", tf.config.optimizer
    before = optimizer.get_experimental_options().get(name, False)
    optimizer.set_experimental_options({name: True})
    try:
        yield
    finally:
        optimizer.set_experimental_options({name: before})


def traced(method, specs):
    """The graph of a signature, which answers to tensors by name."""

    def call(*values):
        return method(**dict(zip(specs, values, strict=True)))

    named = [tf.TensorSpec(s.shape, s.dtype, name) for name, s in specs.items()]
    function = tf.function(call, input_signature=named, autograph=False)
    return function.get_concrete_function()


def with_defaults(traced, specs, defaults):
    """A tf.function whose inputs have their names, and defaults for gRPC.

    TensorFlow stores the default of a Python parameter if that default is a tensor. It
    traces a tf.function for itself: so this one only calls the graph that there is.
    """

    def call(*values):
        return traced(*values)

    parameters = [
        inspect.Parameter(
            name,
            inspect.Parameter.POSITIONAL_OR_KEYWORD,
            default=defaults.get(name, inspect.Parameter.empty),
        )
        for name in specs
    ]
    call.__signature__ = inspect.Signature(parameters)
    named = [tf.TensorSpec(s.shape, s.dtype, name) for name, s in specs.items()]
    return tf.function(call, input_signature=named, autograph=False)
