"""The nodes of a SavedModel's graph, and which of them a signature reaches."""

from collections.abc import Iterator


class Graph:
    """The nodes of one meta graph and of its functions.

    Attributes:
      signatures: name -> SignatureDef, without TensorFlow's own ones.
      functions: name -> FunctionDef.
    """

    def __init__(self, meta_graph):
        self.signatures = {
            name: signature
            for name, signature in sorted(meta_graph.signature_def.items())
            if not name.startswith("__saved_model")
        }
        library = meta_graph.graph_def.library
        self._nodes = {node.name: node for node in meta_graph.graph_def.node}
        self.functions = {f.signature.name: f for f in library.function}

    def everything(self) -> Iterator[tuple[str, object]]:
        """Yields (where, node) of the graph and of every function."""
        yield from (("the graph", node) for node in self._nodes.values())
        for name, function in self.functions.items():
            yield from ((name, node) for node in function.node_def)

    def reached(self, signature: str) -> Iterator[tuple[str, object]]:
        """Yields (where, node) of all that a signature's outputs need."""
        outputs = self.signatures[signature].outputs.values()
        nodes = [_node_name(info.name) for info in outputs]
        functions: list[str] = []
        seen: set[str] = set()
        while nodes:
            node = self._nodes.get(nodes.pop())
            if node is not None and node.name not in seen:
                seen.add(node.name)
                nodes += map(_node_name, node.input)
                functions += _called(node)
                yield "the graph", node
        seen = set()
        while functions:
            name = functions.pop()
            if name in self.functions and name not in seen:
                seen.add(name)
                for node in self.functions[name].node_def:
                    functions += _called(node)
                    yield name, node


def _node_name(tensor: str) -> str:
    return tensor.removeprefix("^").partition(":")[0]


def _called(node) -> Iterator[str]:
    for value in node.attr.values():
        if value.func.name:
            yield value.func.name
        yield from (function.name for function in value.list.func)
    yield node.op  # TensorFlow 1 calls a function by a node of its name


def asks_for_xla(attributes) -> bool:
    """Whether a node's or a function's attributes demand compilation."""
    return any(
        key in attributes and attributes[key].b
        for key in ("_XlaMustCompile", "_XlaCompile", "jit_compile")
    )
