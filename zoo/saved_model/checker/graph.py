"""The nodes of a SavedModel's graph, and which of them a signature reaches.

Standard library only. The field numbers are those of TensorFlow's saved_model,
meta_graph, graph, function, node_def and attr_value .proto files.
"""

import dataclasses
import pathlib
from collections.abc import Iterable, Iterator

from zoo.saved_model.checker import wire

_XLA = ("_XlaMustCompile", "_XlaCompile", "jit_compile")


@dataclasses.dataclass(frozen=True, slots=True)
class Node:
    """One operation.

    Attributes:
      name: its name in its graph or function.
      op: its type.
      inputs: the names of the nodes that feed it, also by control.
      calls: the functions that it may call.
      compiled: whether it needs XLA.
    """

    name: str
    op: str
    inputs: list[str]
    calls: list[str]
    compiled: bool


class Graph:
    """The graph that a server loads, with its functions.

    Attributes:
      signatures: name -> wire.Signature, without TensorFlow's own ones.
      nodes: name -> Node of the graph itself.
      functions: name -> the Nodes of a function.
      compiled: the functions that need XLA.
    """

    def __init__(self, path: str):
        """Reads the graph with the tag "serve" from saved_model.pb in folder `path`.

        Raises:
          ValueError: there is no such file, or no such graph in it.
        """
        file = pathlib.Path(path) / "saved_model.pb"
        if not file.exists():
            raise ValueError(f"{path}: there is no saved_model.pb.{_below(path)}")
        try:
            meta_graph = _serving(file)
            self.signatures = wire.signatures(meta_graph)
            graph = dict(wire.fields(meta_graph)).get(2, b"")
            self.nodes, self.functions, self.compiled = {}, {}, []
            for number, value in wire.fields(memoryview(graph)):
                if number == 1:
                    node = _node(value)
                    self.nodes[node.name] = node
                elif number == 2:
                    for _, function in wire.fields(value):
                        self._add(function)
        except (TypeError, UnicodeDecodeError, wire.Broken) as error:
            raise ValueError(f"{file}: not a SavedModel: {error}.") from None

    def _add(self, message: memoryview) -> None:
        """Adds a function."""
        nodes, attributes, name = [], [], ""
        for number, value in wire.fields(message):
            if number == 1:
                name = wire.text(dict(wire.fields(value)), 1)
            elif number == 3:
                nodes.append(_node(value))
            elif number == 5:
                attributes.append(wire.entry(value))
        self.functions[name] = nodes
        if _compiled(attributes):
            self.compiled.append(name)

    def everything(self) -> Iterator[tuple[str, Node]]:
        """Yields (where, node) of the graph and of every function."""
        yield from (("the graph", node) for node in self.nodes.values())
        for name, nodes in self.functions.items():
            yield from ((name, node) for node in nodes)

    def reached(self, signature: str) -> Iterator[tuple[str, Node]]:
        """Yields (where, node) of every node that a signature's outputs depend on."""
        infos = self.signatures[signature].outputs.values()
        names = [_node_name(info.tensor) for info in infos]
        functions: list[str] = []
        seen: set[str] = set()
        while names:
            node = self.nodes.get(names.pop())
            if node is not None and node.name not in seen:
                seen.add(node.name)
                names += node.inputs
                functions += node.calls
                yield "the graph", node
        seen = set()
        while functions:
            name = functions.pop()
            if name in self.functions and name not in seen:
                seen.add(name)
                for node in self.functions[name]:
                    functions += node.calls
                    yield name, node


def _serving(file: pathlib.Path) -> memoryview:
    """The meta graph with the tag "serve"."""
    found = []
    for number, meta_graph in wire.fields(memoryview(file.read_bytes())):
        if number == 2:
            about = dict(wire.fields(meta_graph)).get(1, b"")
            tags = [
                str(v, "utf-8") for n, v in wire.fields(memoryview(about)) if n == 4
            ]
            if tags == ["serve"]:
                return meta_graph
            found.append(tags)
    raise ValueError(f"{file}: its graphs have the tags {found}, needed ['serve'].")


def _below(path: str) -> str:
    """The end of a message: the versions in a folder of versions."""
    folder = pathlib.Path(path)
    below = folder.iterdir() if folder.is_dir() else ()
    versions = sorted(p.name for p in below if (p / "saved_model.pb").exists())
    return f" Versions below it: {', '.join(versions)}." if versions else ""


def _node(message: memoryview) -> Node:
    """Reads a NodeDef."""
    name = op = ""
    inputs, attributes = [], []
    for number, value in wire.fields(message):
        if number == 1:
            name = str(value, "utf-8")
        elif number == 2:
            op = str(value, "utf-8")
        elif number == 3:
            inputs.append(_node_name(str(value, "utf-8")))
        elif number == 5:
            attributes.append(wire.entry(value))
    # TensorFlow 1 calls a function by a node of its name.
    calls = [op, *(called for _, value in attributes for called in _called(value))]
    return Node(name, op, inputs, calls, _compiled(attributes))


def _node_name(tensor: str) -> str:
    """The node of "name:0" or "^name"."""
    return tensor.removeprefix("^").partition(":")[0]


def _called(attribute: memoryview) -> Iterator[str]:
    """The functions that an AttrValue names, alone or in a list."""
    for number, value in wire.fields(attribute):
        if number == 10:
            yield wire.text(dict(wire.fields(value)), 1)
        elif number == 1:
            for inner, function in wire.fields(value):
                if inner == 9:
                    yield wire.text(dict(wire.fields(function)), 1)


def _compiled(attributes: Iterable[tuple[str, memoryview]]) -> bool:
    return any(
        name in _XLA and dict(wire.fields(value)).get(5) for name, value in attributes
    )
