"""Writes chat_golden.json: how transformers renders chats with each template.

Run it outside of the project's environment, after `pip install transformers jinja2`:
`python tests/zoo/text/write_chat_golden.py`
"""

import json
import pathlib

import jinja2
import transformers
from chat_templates import NAMED, TEMPLATES, messages
from tokenizers import Tokenizer, models

CHATS = [
    ["user", "Hi"],
    ["user", "  two\n\nlines\t \n", "assistant", "\n ok ", "user", " "],
    ["system", "Be kind.", "user", "Grüße, 你好 😀"],
    ["system", " a\n", "user", "b", "assistant", "<think>c</think>\n\nd", "user", "e"],
    ["user", "a", "assistant", "b"],
    ["user", "a", "user", "b"],
    ["system", "", "user", "", "assistant", "", "user", ""],
    ["user", "a", "system", "b", "user", "c"],
    ["assistant", "a", "user", "<|im_end|> {{ b }}"],
    ["system", "a"],
    ["tool", "a", "user", "b"],
]


def main():
    tokenizer = transformers.PreTrainedTokenizerFast(
        tokenizer_object=Tokenizer(models.BPE()), **NAMED
    )
    texts = {}
    for name, template in TEMPLATES.items():
        variables = {"date_string": "1 May 2025"} if "date_string" in template else {}
        texts[name] = []
        for chat in CHATS:
            for answer in (False, True):
                try:
                    text = tokenizer.apply_chat_template(
                        messages(chat),
                        chat_template=template,
                        tokenize=False,
                        add_generation_prompt=answer,
                        **variables,
                    )
                except jinja2.TemplateError:
                    text = None
                texts[name].append(text)
    golden = {"transformers": transformers.__version__, "chats": CHATS, "texts": texts}
    path = pathlib.Path(__file__).with_name("chat_golden.json")
    path.write_text(json.dumps(golden, ensure_ascii=False, indent=1) + "\n", "utf-8")


if __name__ == "__main__":
    main()
