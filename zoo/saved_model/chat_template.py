"""The chat template of a tokenizer as a part of the graph, where that is exact."""

from zoo.text.chat import learn, rendering
from zoo.text.chat.in_graph import GraphChat
from zoo.text.in_graph.tokenizer import GraphTokenizer
from zoo.text.tokenizer import Tokenizer


def build(tokenizer: Tokenizer, graph: GraphTokenizer) -> tuple[GraphChat | None, str]:
    """Compiles the chat template.

    Args:
      tokenizer: has the template, or none.
      graph: the same tokenizer, built for a graph.

    Returns:
      The template in the graph and "", or None and why there is none.
    """
    if not tokenizer.chat_template:
        return None, "the tokenizer has no chat template"
    try:
        template = rendering.template(tokenizer)
        machine = learn.compile_template(template, **rendering.named_tokens(tokenizer))
        return GraphChat(tokenizer, graph, machine), ""
    except ValueError as error:
        return None, str(error)
