"""The parts of Jinja's language that chat templates have in a form of their own."""

import json

from jinja2 import TemplateError, nodes, utils
from jinja2.exceptions import SecurityError
from jinja2.ext import Extension
from jinja2.visitor import NodeTransformer

# Names of filters that no template can write.
MADE, SEEN = "made ", "seen "


def constants(tree):
    """The strings that a template compares with, or gives to a filter or method."""
    places = (nodes.Compare, nodes.Filter, nodes.Test, nodes.Call)
    found = (
        const.value
        for node in tree.find_all(places)
        if not isinstance(node, nodes.Call) or not isinstance(node.node, nodes.Name)
        for const in node.find_all(nodes.Const)
    )
    return sorted({text for text in found if isinstance(text, str)})


class Metered(NodeTransformer):
    """Puts the meter where Jinja's compiler has no hook."""

    def visit_For(self, node):
        tick = nodes.Call(nodes.EnvironmentAttribute("tick"), [], [], None, None)
        self.generic_visit(node)
        node.test = nodes.And(tick, node.test) if node.test else None
        node.body.insert(0, nodes.ExprStmt(tick))
        return node

    def visit_Concat(self, node):
        self.generic_visit(node)
        return _filter(nodes.List(node.nodes), "join")

    def visit_Compare(self, node):
        self.generic_visit(node)
        for side in (node, *node.ops):
            side.expr = _filter(side.expr, SEEN)
        return node

    def visit_Getitem(self, node):
        self.generic_visit(node)
        if isinstance(node.arg, nodes.Slice):
            node.node = _filter(node.node, SEEN)
        return node

    def visit_List(self, node):
        return _filter(self.generic_visit(node), MADE)

    def visit_Dict(self, node):
        return _filter(self.generic_visit(node), MADE)

    def visit_Tuple(self, node):
        self.generic_visit(node)
        return _filter(node, MADE) if node.ctx == "load" else node


def _filter(value, name):
    return nodes.Filter(value, name, [], [], None, None)


class GenerationTag(Extension):
    """`{% generation %}` marks what a model wrote; it changes no text."""

    tags = {"generation"}

    def parse(self, parser):
        """Reads the block."""
        line = next(parser.stream).lineno
        body = parser.parse_statements(("name:endgeneration",), drop_needle=True)
        return nodes.Scope(body, lineno=line)


class Namespace(utils.Namespace):
    """Jinja's, without the names that Python gives a meaning."""

    def __init__(*args, **kwargs):
        values = dict(*args[1:], **kwargs)
        for name in values:
            _check_name(name)
        utils.Namespace.__init__(args[0], values)

    def __setitem__(self, name, value):
        _check_name(name)
        utils.Namespace.__setitem__(self, name, value)


def _check_name(name):
    if name.startswith("_"):
        raise SecurityError(f"the name {name!r} in a namespace")


def raise_exception(message):
    """Refuses a chat."""
    raise TemplateError(message)


def to_json(x, ensure_ascii=False, indent=None, separators=None, sort_keys=False):
    """The filter tojson, which in a chat does not look after HTML."""
    if indent is not None and (not isinstance(indent, int) or indent > 16):
        raise SecurityError(f"tojson with indent {indent!r}")
    return json.dumps(
        x,
        ensure_ascii=ensure_ascii,
        indent=indent,
        separators=separators,
        sort_keys=sort_keys,
    )
