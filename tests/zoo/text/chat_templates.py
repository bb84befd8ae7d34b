"""Chat templates of the known forms, one for each family of models.

They are our own text. Without tools, each writes a chat like the published template of
the models in the comment above it.
"""

_ANSWER = "{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"
_MESSAGE = "{{ '<|im_start|>' ~ m.role ~ '\\n' ~ m.content ~ '<|im_end|>\\n' }}"
_ALTERNATE = """
{%- if (m.role == 'user') == (loop.index is even) %}
    {{- raise_exception('user and assistant take turns') }}
{%- endif %}"""
_ONLY = "{{- raise_exception('only user and assistant') }}"
# Sets `ns.first` to the content of a first system message, `rest` to the others.
_APART = """
{%- set ns = namespace(first=none) %}
{%- set rest = messages %}
{%- if messages[0].role == 'system' %}
    {%- set ns.first = messages[0].content %}
    {%- set rest = messages[1:] %}
{%- endif %}"""
_HEADER = "{{ '<|start_header_id|>' ~ %s ~ '<|end_header_id|>\\n\\n' }}"
_MODEL = "{% if add_generation_prompt %}{{ '<start_of_turn>model\\n' }}{% endif %}"
_GEMMA = """
{%- set role = 'model' if m.role == 'assistant' else m.role %}
{{- '<start_of_turn>' ~ role ~ '\\n' }}"""
_MISTRAL = """
{%- if m.role == 'user' %}
    {{- OPEN ~ (ns.first ~ '\\n\\n' if PLACE and ns.first is not none else '') }}
    {{- m.content ~ CLOSE }}
{%- elif m.role == 'assistant' %}
    {{- SPACE ~ m.content ~ eos_token }}
{%- else %}
    {{- raise_exception('only user and assistant') }}
{%- endif %}"""


def _mistral(**words):
    text = _MISTRAL
    for name, word in words.items():
        text = text.replace(name, word)
    loop = "{% for m in rest %}" + _ALTERNATE + text + "{% endfor %}"
    return _APART + "{{ bos_token }}" + loop


_LLAMA2 = """
{%- set content = m.content %}
{%- if loop.first and ns.first is not none %}
    {%- set content = '<<SYS>>\\n' ~ ns.first ~ '\\n<</SYS>>\\n\\n' ~ content %}
{%- endif %}
{%- if m.role == 'user' %}
    {{- bos_token ~ '[INST] ' ~ content|trim ~ ' [/INST]' }}
{%- elif m.role == 'assistant' %}
    {{- ' ' ~ content|trim ~ ' ' ~ eos_token }}
{%- else %}
    {{- '<<SYS>>\\n' ~ content|trim ~ '\\n<</SYS>>\\n\\n' }}
{%- endif %}"""

_THINKING = """
{%- for m in messages %}
    {%- set content = m.content %}
    {%- if m.role == 'assistant' and '</think>' in content %}
        {%- set content = content.split('</think>')[-1].lstrip('\\n') %}
    {%- endif %}
    {{- '<|im_start|>' ~ m.role ~ '\\n' ~ content ~ '<|im_end|>\\n' }}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- '<|im_start|>assistant\\n' }}
    {%- if enable_thinking is defined and not enable_thinking %}
        {{- '<think>\\n\\n</think>\\n\\n' }}
    {%- endif %}
{%- endif %}
"""

_ZEPHYR = """
{%- for m in messages %}
{%- if m.role in ['system', 'user', 'assistant'] %}
{{- '<|' ~ m.role ~ '|>\\n' ~ m.content ~ eos_token }}
{% endif %}
{%- endfor %}
{%- if add_generation_prompt %}
{{- '<|assistant|>' }}
{% endif %}"""

_GATHERED = """
{%- set ns = namespace(system='') %}
{%- for m in messages if m.role == 'system' %}
    {%- set ns.system = ns.system ~ m.content %}
{%- endfor %}
{{- bos_token ~ ns.system }}
{%- for m in messages if m.role != 'system' %}
    {{- '<|' ~ m.role ~ '|>' }}
    {{- m.content.split('</think>')[-1] ~ eos_token if m.role == 'assistant' }}
    {{- m.content if m.role == 'user' }}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- '<|assistant|>' }}
{%- endif %}
"""

_DROPPED = """
{{- bos_token }}
{%- for m in messages %}
    {%- if m.role == 'user' %}
        {{- '<|user|>\\n' ~ m.content ~ '<|end|>\\n<|assistant|>\\n' }}
    {%- elif m.role == 'assistant' %}
        {{- m.content ~ '<|end|>\\n' }}
    {%- endif %}
{%- endfor %}
"""

_DATED = """
{%- if date_string is not defined %}
    {%- set date_string = strftime_now('%d %b %Y') %}
{%- endif %}
{{- bos_token ~ '<|start_header_id|>system<|end_header_id|>\\n\\nToday Date: ' }}
{{- date_string ~ '\\n\\n' ~ (ns.first or '')|trim ~ '<|eot_id|>' }}"""

_LLAMA3 = _HEADER % "m.role" + "{{ m.content|trim ~ '<|eot_id|>' }}{% endfor %}"
_LOOP = "{% for m in messages %}"
_REST = "{% for m in rest %}"
_FIRST = "{{ ns.first ~ '\\n\\n' if loop.first and ns.first is not none }}"
_END = "{{ m.content|trim ~ '<end_of_turn>\\n' }}{% endfor %}"

TEMPLATES = {
    "chatml": _LOOP + _MESSAGE + "{% endfor %}" + _ANSWER,
    # SmolLM2, Qwen 1.5 and 2
    "default_system": "{% if messages[0].role != 'system' %}"
    "{{ '<|im_start|>system\\nYou help people.<|im_end|>\\n' }}{% endif %}"
    + (_LOOP + _MESSAGE + "{% endfor %}" + _ANSWER),
    # Qwen 3
    "thinking": _THINKING,
    "llama2": _APART + _REST + _ALTERNATE + _LLAMA2 + "{% endfor %}",
    "llama3": "{{ bos_token }}" + _LOOP + _LLAMA3 + _HEADER % "'assistant'",
    # Llama 3.1 to 3.3
    "llama3_dated": _APART + _DATED + _REST + _LLAMA3 + _HEADER % "'assistant'",
    # Gemma 1 and 2
    "gemma": "{{ bos_token }}{% if messages[0].role == 'system' %}"
    + (_ONLY + "{% endif %}" + _LOOP + _ALTERNATE + _GEMMA + _END + _MODEL),
    # Gemma 3, without images
    "gemma3": _APART
    + ("{{ bos_token }}" + _REST + _ALTERNATE + _GEMMA + _FIRST + _END + _MODEL),
    # Mistral 7B Instruct 0.1
    "mistral1": "{{ bos_token }}"
    + (_LOOP + _ALTERNATE + "{% if m.role == 'user' %}")
    + "{{ '[INST] ' ~ m.content ~ ' [/INST]' }}{% elif m.role == 'assistant' %}"
    + (
        "{{ m.content ~ eos_token ~ ' ' }}{% else %}"
        + _ONLY
        + "{% endif %}{% endfor %}"
    ),
    # Mistral 7B Instruct 0.2
    "mistral2": _mistral(
        OPEN="' [INST] '", PLACE="loop.first", CLOSE="' [/INST]'", SPACE="' '"
    ),
    # Mistral 7B Instruct 0.3, Mistral Nemo
    "mistral3": _mistral(
        OPEN="'[INST]'", PLACE="loop.last", CLOSE="'[/INST]'", SPACE="''"
    ),
    "zephyr": _ZEPHYR,
    # DeepSeek R1: moves all system messages to the start
    "gathered": _GATHERED,
    # Phi 3: no system message
    "dropped": _DROPPED,
}
# Templates in which a message depends on the contents of others.
ACROSS = {
    # Qwen 3 looks for the last message of the user that is no answer of a tool.
    "last query": """
{%- set ns = namespace(last=messages|length - 1, found=false) %}
{%- for m in messages[::-1] %}
{%- if not ns.found and m.role == 'user' and not (m.content.startswith('<tool>')
    and m.content.endswith('</tool>')) %}
{%- set ns.found = true %}{%- set ns.last = messages|length - 1 - loop.index0 %}
{%- endif %}{%- endfor %}
{%- for m in messages %}<{{ m.role }}>
{%- if m.role == 'assistant' and loop.index0 <= ns.last %}
{{- m.content.split('</think>')[-1].lstrip('\\n') }}
{%- else %}{{- m.content }}{%- endif %}{%- endfor %}""",
    "plan": """
{%- for m in messages %}{% if m.content in words %}{% endif %}<{{ m.role }}>
{%- if m.role == 'assistant' and m.content.startswith('plan:')
    and messages[-1].content.startswith('result:') %}(kept){% endif %}
{{- m.content }}{% endfor %}""",
    "three": """
{%- for m in messages %}{{ m.content }}
{%- if loop.index0 > 1 and m.content == 'c' and messages[loop.index0 - 1].content == 'b'
    and messages[loop.index0 - 2].content == 'a' %}!{% endif %}{% endfor %}""",
    # Each condition is asked only where the one before it is true.
    "five": """
{%- for m in messages %}{{ m.content }}
{%- if loop.index0 > 3 and m.content == 'e' and messages[loop.index0 - 1].content == 'd'
    and messages[loop.index0 - 2].content == 'c'
    and messages[loop.index0 - 3].content == 'b'
    and messages[loop.index0 - 4].content == 'a' %}!{% endif %}{% endfor %}""",
    "flag": """
{%- set ns = namespace(on=false) %}{% for m in messages %}
{%- if 'begin' in m.content %}{% set ns.on = true %}{% endif %}
{%- if 'end' in m.content %}{% set ns.on = false %}{% endif %}
{{- '*' if ns.on }}{{ m.content }}{% endfor %}""",
}
# Contents for each of them.
CASES = {
    "last query": ["q", "<tool>1</tool>", "<tool>", "<think>\na\n</think>\n\nb", ""],
    "plan": ["plan: a", "result: b", "w3", "c", "a plan:"],
    "three": ["a", "b", "c", "d"],
    "five": ["a", "b", "c", "d", "e"],
    "flag": ["begin", "end", "the end of the begin", "x"],
}
NAMED = {"bos_token": "<s>", "eos_token": "</s>"}
SPECIAL = (
    "<s> </s> <|im_start|> <|im_end|> <|start_header_id|> <|end_header_id|> <|eot_id|> "
    "<start_of_turn> <end_of_turn> [INST] [/INST] <|user|> <|assistant|> <|end|>"
).split()


def messages(chat):
    """The messages of a list role, content, role, content, ..."""
    return [
        {"role": role, "content": content}
        for role, content in zip(chat[::2], chat[1::2], strict=True)
    ]
