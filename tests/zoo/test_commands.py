"""Commands answer help and mistakes at once, in one line, without TensorFlow."""

import os
import subprocess
import sys

import pytest

from zoo.generation_config import KNOBS, SEARCH


def python(*args):
    return subprocess.run(
        [sys.executable, *args], capture_output=True, text=True, errors="replace"
    )


@pytest.mark.parametrize("name", ["generate", "ask", "export", "check"])
def test_help_shows_every_flag_and_imports_no_tensorflow(name):
    done = python("-X", "importtime", "-m", f"zoo.{name}", "--help")
    assert " tensorflow" not in done.stderr and " keras" not in done.stderr
    known = KNOBS + SEARCH if name in ("generate", "ask") else KNOBS
    for knob in known if name != "check" else ():
        assert f"  --{knob.name}:" in done.stdout


@pytest.mark.parametrize(
    "args, words",
    [
        (["generate", "--model=x", "--top_k=x"], "flag --top_k=x: invalid literal"),
        (["generate", "--modle=x"], "Unknown command line flag 'modle'"),
        (["generate", "--model=x", "y"], "Unknown argument 'y'; flags begin with --."),
        (["ask", "--saved_model=x"], "Exactly one of (prompt, text)"),
        (["check", "--saved_model=/nowhere"], "/nowhere: there is no saved_model.pb."),
        (
            ["generate", "--model=x", b"--prompt=a\xff\xfe"],
            r"--prompt: 'a\\xff\\xfe' is not valid UTF-8 at character 1.",
        ),
        (
            ["ask", "--saved_model=x", b"--prompt=\xff"],
            r"--prompt: '\\xff' is not valid UTF-8 at character 0.",
        ),
    ],
)
def test_a_mistake_is_one_line(args, words):
    name, *flags = args
    done = python("-m", f"zoo.{name}", *flags)
    (line,) = done.stderr.splitlines()
    assert done.returncode == 1 and line.startswith("error: ") and words in line


@pytest.mark.parametrize("name", ["generate", "export"])
def test_a_training_run_is_no_model_but_holds_one(tmp_path, name):
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "config.json").write_text("{}")
    done = python("-m", f"zoo.{name}", f"--model={tmp_path}", f"--output={tmp_path}/o")
    if name == "generate":
        done = python("-m", f"zoo.{name}", f"--model={tmp_path}")
    assert done.returncode == 1
    assert f"Did you mean {tmp_path}/model?" in done.stderr.splitlines()[-1]


def test_generate_fits_its_default_and_tells_where_it_ends(
    tmp_path, tokenizer, commands
):
    import zoo
    from zoo.decode import generate

    sizes = {"vocab_size": 300, "context": 64, "width": 8, "layers": 1, "heads": 2}
    zoo.save(tmp_path / "model", zoo.build("transformer_lm", **sizes), tokenizer)
    args = f"--model={tmp_path}/model", "--prompt=ab"
    done = commands("zoo.generate", *args)
    room = 64 - len(tokenizer.encode("ab"))
    assert done.code == 0, done.out
    assert f"1 of 1 answers end after {room} tokens; --max_new_tokens" in done.out
    done = commands("zoo.generate", *args, "--max_new_tokens=2")
    assert done.code == 0 and "--max_new_tokens" not in done.out
    done = commands("zoo.generate", *args, "--max_new_tokens=64")
    assert done.code == 1 and "context is 64" in done.errors[0]
    search = "--max_new_tokens=3", "--beams=3", "--num_return_sequences=2"
    done = commands("zoo.generate", *args, *search, "--early_stopping=2")
    assert done.code == 0, done.out
    model, tokenizer, _ = zoo.load(tmp_path / "model")[:3]
    knobs = zoo.GenerationConfig(
        max_new_tokens=3, beams=3, num_return_sequences=2, early_stopping=2
    )
    texts = [answer.text for answer in generate(model, tokenizer, "ab", knobs)]
    assert len(texts) == 2 and "".join(f"ab{text}\n" for text in texts) in done.out
    done = commands("zoo.generate", *args, "--beams=2", "--temperature=1")
    assert done.errors == [
        "error: beams: 2, but temperature 1.0; 1 allowed, or temperature 0."
    ]
    done = commands("zoo.generate", *args, "--chat")
    assert done.errors == [f"error: --chat: {tmp_path}/model has no chat template."]


@pytest.mark.parametrize(
    "error, code, line",
    [
        ("KeyboardInterrupt()", 130, ""),
        ("ValueError('--x: 1, 2 allowed.')", 1, "error: --x: 1, 2 allowed."),
        ("OSError(28, 'No space left', '/a')", 1, "error: /a: No space left"),
        ("OSError('/a: the disk is full')", 1, "error: /a: the disk is full"),
    ],
)
def test_how_a_command_ends(error, code, line):
    program = f"from zoo import command\ndef main(argv): raise {error}\n"
    done = python("-c", program + "command.run_app(main)")
    assert (done.returncode, done.stderr.strip()) == (code, line)


def test_imports_are_quiet_unless_they_fail(capfd):
    from zoo import command

    with command.quiet_imports():
        os.write(2, b"noise\n")
    assert capfd.readouterr().err == ""
    with pytest.raises(ImportError), command.quiet_imports():
        os.write(2, b"the reason\n")
        raise ImportError
    assert capfd.readouterr().err == "the reason\n"
    os.write(2, b"heard\n")
    assert capfd.readouterr().err == "heard\n"
