"""Jinja's language as chat templates use it, with a price on each piece of work."""

import json

from jinja2 import TemplateError, nodes, utils
from jinja2.exceptions import SecurityError
from jinja2.ext import Extension
from jinja2.visitor import NodeTransformer

# Filters of the sandbox; a template cannot spell a name with a space.
CHARGE_DEEP, CHARGE_LENGTH, COMPARE = "charge deep", "charge length", "compare to"


def constants(tree):
    """The strings that a template compares with, or gives to a filter or a method."""
    places = (nodes.Compare, nodes.Filter, nodes.Test, nodes.Call)
    found = (
        const.value
        for node in tree.find_all(places)
        if not isinstance(node, nodes.Call) or not isinstance(node.node, nodes.Name)
        for const in node.find_all(nodes.Const)
    )
    return sorted({text for text in found if isinstance(text, str)})


def numbers(tree):
    """The integers in a template."""
    found = (const.value for const in tree.find_all(nodes.Const))
    return sorted({number for number in found if type(number) is int})


class Metered(NodeTransformer):
    """Adds calls that pay, where Jinja's compiler has no hook."""

    def visit_For(self, node):
        pay = nodes.Call(nodes.EnvironmentAttribute("pay_round"), [], [], None, None)
        self.generic_visit(node)
        node.test = nodes.And(pay, node.test) if node.test else None
        node.body.insert(0, nodes.ExprStmt(pay))
        return node

    def visit_Concat(self, node):
        self.generic_visit(node)
        return _filter(nodes.List(node.nodes), "join")

    def visit_Compare(self, node):
        self.generic_visit(node)
        if len(node.ops) == 1:
            return _filter(
                node.expr, COMPARE, nodes.Const(node.ops[0].op), node.ops[0].expr
            )
        for side in (node, *node.ops):
            side.expr = _filter(side.expr, CHARGE_LENGTH)
        return node

    def visit_Getitem(self, node):
        self.generic_visit(node)
        if isinstance(node.arg, nodes.Slice):
            node.node = _filter(node.node, CHARGE_LENGTH)
        return node

    def visit_List(self, node):
        return _filter(self.generic_visit(node), CHARGE_DEEP)

    def visit_Dict(self, node):
        return _filter(self.generic_visit(node), CHARGE_DEEP)

    def visit_Tuple(self, node):
        self.generic_visit(node)
        return _filter(node, CHARGE_DEEP) if node.ctx == "load" else node


def _filter(value, name, *args):
    """The node `value|name(args)`."""
    return nodes.Filter(value, name, list(args), [], None, None)


class GenerationTag(Extension):
    """The tag `{% generation %}` around what a model wrote; it changes no text."""

    tags = {"generation"}

    def parse(self, parser):
        """Parses the block as a plain scope."""
        line = next(parser.stream).lineno
        body = parser.parse_statements(("name:endgeneration",), drop_needle=True)
        return nodes.Scope(body, lineno=line)


class Namespace(utils.Namespace):
    """Jinja's namespace, without names that start with an underscore."""

    def __init__(*args, **kwargs):
        values = dict(*args[1:], **kwargs)
        for name in values:
            _check_name(name)
        utils.Namespace.__init__(args[0], values)

    def __setitem__(self, name, value):
        _check_name(name)
        utils.Namespace.__setitem__(self, name, value)


def _check_name(name):
    """Refuses names that Python gives a meaning."""
    if name.startswith("_"):
        raise SecurityError(f"the name {name!r} in a namespace")


def raise_exception(message):
    """Refuses a chat with a message of the template."""
    raise TemplateError(message)


def to_json(x, ensure_ascii=False, indent=None, separators=None, sort_keys=False):
    """The filter tojson of transformers, which does not escape HTML."""
    if indent is not None and (not isinstance(indent, int) or indent > 16):
        raise SecurityError(f"tojson with indent {indent!r}")
    return json.dumps(
        x,
        ensure_ascii=ensure_ascii,
        indent=indent,
        separators=separators,
        sort_keys=sort_keys,
    )
