"""Optimizes the graph of an export once, so that no server does it again.

A session passes each signature through TensorFlow's graph optimizer, with all functions
that it can call: seconds before the first answer, for calls of milliseconds. The time
grows with the nodes and the functions of the file. So here

    equal nodes become one, unused ones leave,
    every function says that it is optimized, as the functions of tf.data do,
    shapes of values, which the server infers, are left out.

Calls stay calls: the server puts the bodies of blocks in their places when it prepares
a function. A file that had 30 copies of a block would be slower to prepare.

No optimization here changes what is computed, or the device that may compute it.
"""

import os
import pathlib
from typing import Any, cast

from tensorflow.core.protobuf import config_pb2, saved_model_pb2
from tensorflow.python.grappler import tf_optimizer
from tensorflow.python.saved_model import fingerprinting_utils

_OPTIMIZERS = "common_subgraph_elimination", "dependency", "pruning"
_OPTIMIZED = "_tf_data_function"  # kTFDataFunction of tensorflow/core/framework
_LOWERED = "_lower_using_switch_merge"
_SHAPES = "_output_shapes"


def prepare(folder: pathlib.Path) -> None:
    """Rewrites saved_model.pb, and fingerprint.pb, which has its checksum.

    Args:
      folder: of a SavedModel, which nothing reads yet.
    """
    path = folder / "saved_model.pb"
    saved = saved_model_pb2.SavedModel.FromString(path.read_bytes())
    (graph,) = saved.meta_graphs
    main, library = graph.graph_def.node, graph.graph_def.library
    called = {n.attr["f"].func.name for n in main if "f" in n.attr}
    roots = called | set(graph.object_graph_def.concrete_functions)
    functions = _reachable(_optimized(graph), roots)
    _drop_shapes(main)
    for function in functions:
        function.attr[_OPTIMIZED].b = True
        _lower(function, True)
        _drop_shapes(function.node_def)
        if function.signature.name not in roots:
            function.attr.pop("_input_shapes", None)
            function.arg_attr.clear()
    del library.function[:]
    library.function.extend(functions)
    path.write_bytes(saved.SerializeToString(deterministic=True))
    fingerprinting_utils.write_fingerprint(os.fspath(folder))


def _lower(function, whether: bool) -> None:
    """Says whether conditionals and loops may become operations without functions.

    The server does that: a session refuses loops that were lowered before equal nodes
    became one.
    """
    for node in function.node_def:
        if _LOWERED in node.attr:
            node.attr[_LOWERED].b = whether


def _drop_shapes(nodes) -> None:
    """Drops the shapes of outputs, which the server infers."""
    for node in nodes:
        node.attr.pop(_SHAPES, None)


def _optimized(graph) -> dict:
    """The functions by name; those that the main graph does not reach as they are."""
    config = config_pb2.ConfigProto()
    rewrites = config.graph_options.rewrite_options
    rewrites.optimizers.extend(_OPTIMIZERS)
    rewrites.min_graph_nodes = -1  # small graphs too
    rewrites.meta_optimizer_iterations = rewrites.ONE
    item = type(graph).FromString(graph.SerializeToString())
    for function in item.graph_def.library.function:
        _lower(function, False)
    names = [node.name for node in graph.graph_def.node]
    item.collection_def["train_op"].node_list.value.extend(names)
    found = {f.signature.name: f for f in graph.graph_def.library.function}
    optimized = cast(Any, tf_optimizer.OptimizeGraph(config, item))
    for function in optimized.library.function:
        found[function.signature.name] = function
    return found


def _reachable(functions: dict, roots: set[str]) -> list:
    """The functions that the roots call, and the roots, in the order of their names."""
    found, waiting = set(), list(roots & functions.keys())
    while waiting:
        name = waiting.pop()
        if name in found:
            continue
        found.add(name)
        for node in functions[name].node_def:
            for value in node.attr.values():
                named = [value.func, *value.list.func]
                waiting.extend(f.name for f in named if f.name in functions)
    return [functions[name] for name in sorted(found)]
