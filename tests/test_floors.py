"""The floors of the house: what may import what, and what may stand where.

Sources are parsed, never imported. Each rule is a function from a parsed module to the
lines that break it, and is itself tested on a line that does.
"""

import ast
import pathlib
import sys

import pytest

ROOT = pathlib.Path(__file__).parents[1]
LONGEST = 320

# An import points to a lower floor, or stays inside its own module or package.
FLOORS = {
    "zoo.fields": 0,
    "zoo.shapes": 0,
    "zoo.files": 0,
    "zoo.knobs": 0,
    "zoo.row_seeds": 0,
    "zoo.registry": 1,
    "zoo.generation_config": 1,
    "zoo.lora_config": 1,
    "zoo.layers": 2,
    "zoo.text": 2,
    "zoo.text.tokenizer": 2,
    "zoo.text.importers": 3,
    "zoo.text.encoder_tokenizer": 3,
    "zoo.text.word_cache": 3,
    "zoo.text.framing": 4,
    "zoo.text.in_graph": 4,
    "zoo.text.chat": 5,
    "zoo.models": 6,
    "zoo.metrics": 6,
    "zoo.data": 7,
    "zoo.decode": 8,
    "zoo.directory": 8,
    "zoo.search_index": 9,
    "zoo.lora": 9,
    "zoo.saved_model": 9,
    "zoo.saved_model.checker": 8,
    "zoo.saved_model.signatures": 10,
    "zoo.saved_model.writer": 11,
    "zoo.command": 12,
    "zoo.config_file": 12,
    "zoo": 13,  # its commands
    "trainers.run": 14,
    "trainers.losses": 14,
    "trainers.objectives": 15,
    "trainers.objectives.loss": 14,
    "trainers.objectives.rollout_options": 14,
    "trainers.rewards": 15,
    "trainers.strategy": 15,
    "trainers.diagnostics": 14,
    "trainers.event_files": 14,
    "trainers.metrics_file": 14,
    "trainers.step": 16,
    "trainers.roles": 16,
    "trainers.checkpoint": 16,
    "trainers.evaluation": 16,
    "trainers.loop_state": 16,
    "trainers.sweeps": 16,
    "trainers.memory": 16,
    "trainers.metric_writer": 16,
    "trainers.optimizers": 16,
    "trainers.signals": 16,
    "trainers.workdir": 16,
    "trainers.rollouts": 16,
    "trainers.feeds": 17,
    "trainers.evaluation_flags": 18,
    "trainers.loop": 18,
    "trainers.run_flags": 18,
    "trainers": 19,  # its commands
    "configs": 20,
}
LARGEST_PACKAGE = 16  # files, without __init__.py and commands
MAY_USE_FLAGS = (
    "zoo/command.py",
    "zoo/config_file.py",
    "trainers/run_flags.py",
    "trainers/evaluation_flags.py",
)
PICKLES = ("cloudpickle", "dill", "joblib", "marshal", "pickle", "shelve")


def paths():
    return [
        p.relative_to(ROOT).as_posix()
        for folder in ("zoo", "trainers", "configs")
        for p in sorted((ROOT / folder).rglob("*.py"))
    ]


def source(path):
    return (ROOT / path).read_text(encoding="utf-8")


def module_of(path):
    return path.removesuffix(".py").removesuffix("/__init__").replace("/", ".")


def room_of(module):
    """The longest entry of FLOORS that the module is in."""
    parts = module.split(".")
    while parts and ".".join(parts) not in FLOORS:
        parts.pop()
    return ".".join(parts)


def dotted(node):
    """`a.b.c` of an expression, and "" of any other."""
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute) and dotted(node.value):
        return f"{dotted(node.value)}.{node.attr}"
    return ""


def imported(tree):
    """Each imported module, or name in a module, with its line."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield alias.name, node.lineno
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"line {node.lineno}: a relative import"
            for alias in node.names:
                yield f"{node.module}.{alias.name}", node.lineno


def called(tree):
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            yield dotted(node.func), node.lineno


def named(tree):
    for node in ast.walk(tree):
        if isinstance(node, ast.Name | ast.Attribute) and dotted(node):
            yield dotted(node), node.lineno


# ---- the rules ----


def points_up(tree, path):
    own = room_of(module_of(path))
    for name, line in imported(tree):
        if name.split(".")[0] not in ("zoo", "trainers", "configs"):
            continue
        room = room_of(name)
        command = room in ("zoo", "trainers")  # which nobody imports
        if command or room != own and FLOORS[room] >= FLOORS[own]:
            yield line, f"imports {name}"


def is_command(tree):
    return any(
        isinstance(node, ast.If) and "__name__" in ast.unparse(node.test)
        for node in tree.body
    )


def uses_flags(tree, path):
    if path in MAY_USE_FLAGS or is_command(tree):
        return
    for name, line in imported(tree):
        if name.startswith(("absl.flags", "absl.app", "ml_collections.config_flags")):
            yield line, name


def steps(tree, path):
    if path == "trainers/step.py":
        return
    for name, line in named(tree):
        *holder, last = name.lower().split(".")
        held = holder[-1] if holder else ""
        if last == "gradienttape" or (held, last) == ("tf", "gradients"):
            yield line, name
        if last == "run" and "strategy" in held:
            yield line, name
        if last in ("apply", "apply_gradients") and "optimizer" in held:
            yield line, name


def makes_strategy(tree, path):
    if path != "trainers/strategy.py":
        for name, line in called(tree):
            last = name.split(".")[-1]
            if last.endswith("Strategy") or last == "get_strategy":
                yield line, name


def may_compile(path):
    folders = ("zoo/decode/", "zoo/saved_model/", "trainers/rollouts/")
    return path.startswith(folders) or path in (
        "trainers/step.py",
        "trainers/evaluation/sums.py",
        "trainers/evaluation/labels.py",
        "trainers/evaluation/preferences.py",
        "trainers/evaluation/search.py",
        "trainers/rewards/model.py",
        "zoo/layers/linear.py",  # so that equal shapes share one trace
        "zoo/layers/xla_cluster.py",
        "zoo/layers/traced_blocks.py",
    )


def compiles(tree, path):
    if not may_compile(path):
        for name, line in named(tree):
            if name in ("tf.function", "tensorflow.function"):
                yield line, name


def nested(tree, path):
    """A tf.function that is defined inside of another one."""
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef) and any(
            "tf.function" in ast.unparse(d) for d in node.decorator_list
        ):
            for inner in node.body:
                for name, line in named(inner):
                    if name == "tf.function":
                        yield line, f"inside of {node.name}"


def runs_code(tree, path):
    for name, line in called(tree):
        if name in ("eval", "exec", "compile", "__import__"):
            yield line, name
        if name.split(".")[-1] == "Lambda":
            yield line, name
    for name, line in imported(tree):
        if name.split(".")[0] in PICKLES:
            yield line, name
    for node in ast.walk(tree):
        if isinstance(node, ast.keyword) and node.arg in ("allow_pickle", "safe_mode"):
            yield node.value.lineno, node.arg


def postpones_types(tree, path):
    """Postponed annotations break the overrides of the command line."""
    for name, line in imported(tree):
        if name == "__future__.annotations":
            yield line, name


RULES = [
    points_up,
    uses_flags,
    steps,
    makes_strategy,
    compiles,
    nested,
    runs_code,
    postpones_types,
]


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_house(rule):
    broken = [
        f"{path}:{line}: {what}"
        for path in paths()
        for line, what in rule(ast.parse(source(path)), path)
    ]
    assert not broken, "\n".join(broken)


@pytest.mark.parametrize(
    "rule, path, text",
    [
        (points_up, "zoo/layers/norm.py", "from zoo import models"),
        (points_up, "zoo/layers/norm.py", "from zoo.text import tokenizer"),
        (points_up, "zoo/decode/loop.py", "def f():\n    import trainers.loop"),
        (points_up, "zoo/export.py", "from trainers.run import Run"),
        (points_up, "zoo/data/batches/__init__.py", "from zoo import load"),
        (points_up, "trainers/step.py", "from trainers import optimizers"),
        (points_up, "trainers/loop.py", "from trainers import train"),
        (points_up, "zoo/ask.py", "from zoo import generate"),
        (uses_flags, "trainers/loop.py", "from absl import flags"),
        (steps, "trainers/loop.py", "with tf.GradientTape() as tape: pass"),
        (steps, "trainers/loop.py", "self.strategy.run(f)"),
        (steps, "zoo/lora.py", "optimizer.apply(grads)"),
        (makes_strategy, "trainers/step.py", "tf.distribute.MirroredStrategy()"),
        (compiles, "zoo/models/dense_net.py", "@tf.function\ndef f(): pass"),
        (
            nested,
            "trainers/step.py",
            "@tf.function(autograph=False)\ndef f():\n    @tf.function\n    def g(): 0",
        ),
        (runs_code, "zoo/registry.py", "eval('1')"),
        (runs_code, "zoo/registry.py", "def f():\n    import pickle"),
        (runs_code, "zoo/registry.py", "keras.layers.Lambda(f)"),
        (runs_code, "zoo/registry.py", "np.load(path, allow_pickle=True)"),
        (postpones_types, "trainers/x.py", "from __future__ import annotations"),
    ],
)
def test_rule_sees(rule, path, text):
    assert list(rule(ast.parse(text), path))


@pytest.mark.parametrize(
    "rule, path, text",
    [
        (points_up, "zoo/decode/loop.py", "from zoo.decode import samplers"),
        (points_up, "configs/x.py", "from trainers.run import Run"),
        (points_up, "trainers/train.py", "from trainers import loop"),
        (uses_flags, "zoo/x.py", "from absl import flags\nif __name__ == '': 0"),
        (steps, "trainers/train.py", "runpy.run(x)"),
        (makes_strategy, "trainers/strategy.py", "tf.distribute.get_strategy()"),
    ],
)
def test_rule_lets_pass(rule, path, text):
    assert not list(rule(ast.parse(text), path))


def test_every_module_has_a_floor():
    for path in paths():
        assert room_of(module_of(path)), path
        if room_of(module_of(path)) in ("zoo", "trainers"):
            tree = ast.parse(source(path))
            # __init__ of zoo is its lazy API, that of trainers is empty
            assert is_command(tree) or path.endswith("__init__.py"), (
                f"{path} is no command: give it a floor"
            )


def test_files_are_one_sitting():
    for path in paths():
        text = source(path)
        assert text.count("\n") <= LONGEST, f"{path}: {text.count(chr(10))} lines"


def test_every_module_says_what_it_is():
    for path in paths():
        text = source(path)
        assert not text or ast.get_docstring(ast.parse(text)), path


def test_packages_are_small():
    # configs is a list of examples, which nothing imports
    for folder in sorted(
        {(ROOT / path).parent for path in paths()} - {ROOT / "configs"}
    ):
        files = [
            path
            for path in folder.glob("*.py")
            if path.name != "__init__.py"
            and not is_command(ast.parse(path.read_text()))
        ]
        assert len(files) <= LARGEST_PACKAGE, f"{folder}: {len(files)} files"


def test_the_checker_imports_the_standard_library_only():
    """The process that calls an artefact must hold nothing but the C library."""
    for path in paths():
        if path.startswith("zoo/saved_model/checker/"):
            for name, line in imported(ast.parse(source(path))):
                top = name.split(".")[0]
                own = name.startswith("zoo.saved_model.checker")
                assert own or top in sys.stdlib_module_names, f"{path}:{line}: {name}"
