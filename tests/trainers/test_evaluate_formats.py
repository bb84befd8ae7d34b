"""Evaluation on single examples: losses, generated answers, reports and audits."""

import dataclasses
import json
import math

import numpy as np
import pytest
import tensorflow as tf

import zoo
from trainers import evaluation, loop
from trainers.evaluation import answers, audits, language, measured, report
from trainers.evaluation.request import HeldOut, Request
from trainers.objectives import LanguageModel
from trainers.run import Data, Run
from zoo import directory
from zoo.data import batches, formats
from zoo.decode import generate
from zoo.generation_config import GenerationConfig
from zoo.text.tokenizer import Tokenizer

CHAT = (
    "{% for m in messages %}<{{ m.role }}>{{ m.content }}"
    "{% if m.role == 'assistant' %}{{ eos_token }}{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}<assistant>{% endif %}"
)


@pytest.fixture(scope="module")
def folder(tokenizer, tmp_path_factory):
    """A tiny model directory."""
    tf.keras.utils.set_random_seed(0)
    model = zoo.build(
        "transformer_lm", vocab_size=300, context=64, width=16, layers=1, heads=2
    )
    path = tmp_path_factory.mktemp("start") / "model"
    directory.save(path, model, tokenizer)
    return path


@pytest.fixture(scope="module")
def loaded(folder):
    return directory.load(folder)


@pytest.fixture(scope="module")
def pairs(tmp_path_factory):
    """Questions with answers of many lengths."""
    path = tmp_path_factory.mktemp("pairs") / "pairs.jsonl"
    rows = [
        {
            "prompt": f"abc {i} dab" * (1 + i % 3),
            "completion": " ".join(["cab"] * (1 + i % 9)) + f" #### {i}",
            "right": ["gabe", f"{i}"],
        }
        for i in range(20)
    ]
    path.write_text("\n".join(map(json.dumps, rows)))
    return path


def request(pairs, **fields):
    return Request(source=f"jsonl:{pairs}", format="prompt", **fields)


def test_the_loss_of_a_row_is_that_of_the_objective(loaded, pairs):
    wanted = request(pairs)
    examples = evaluation.request.examples(wanted)
    rows = language.read_rows(loaded.model, loaded.tokenizer, examples, wanted)
    sums = language.losses(loaded.model, rows, batch=3)
    for number in (0, 8, 19):
        first, last = rows.starts[number : number + 2]
        tokens = rows.tokens[first:last][None]
        logp = tf.nn.log_softmax(loaded.model(tokens[:, :-1]))[0].numpy()
        hits = logp[np.arange(len(logp)), tokens[0, 1:]]
        weights = rows.weights[first + 1 : last]
        assert sums[number] == pytest.approx(
            (-(hits * weights).sum(), weights.sum()), rel=1e-4
        )
    all_of = evaluation.make_evaluate(LanguageModel())
    dataset = batches.eval_rows(*rows[:3], 4)
    loss = all_of({"policy": loaded.model}, dataset)["loss"]
    found = language.of_rows(loaded, wanted).measures
    assert found["loss"].value == pytest.approx(loss, rel=1e-5)
    assert found["perplexity"].value == pytest.approx(math.exp(loss), rel=1e-4)
    # the bytes of an answer, and one for its end
    size = sum(len(e["completion"]) + 1 for _, e in examples)
    bits = sums[:, 0].sum() / math.log(2) / size
    assert found["bits_per_byte"].value == pytest.approx(bits, rel=1e-5)


def test_documents_have_the_numbers_of_the_objective(loaded, corpus):
    wanted = Request(source=f"text:{corpus}", length=32, batch=5)
    found = language.of_documents(loaded, wanted).measures
    stream = formats.language_model([corpus.read_text()], loaded.tokenizer)
    dataset, _ = batches.eval_windows(stream.tokens, 32, 7, 16, stream.weights)
    theirs = evaluation.make_evaluate(LanguageModel())(
        {"policy": loaded.model}, dataset, stream.bytes
    )
    ours = {name: m.value for name, m in found.items()}
    assert ours == pytest.approx(theirs, rel=1e-5)


def test_of_a_chat_the_last_answer_is_generated(loaded):
    plain = loaded.tokenizer
    tokenizer = Tokenizer(plain.json, {**plain.config, "chat_template": CHAT})
    roles = ("user", "assistant", "user", "assistant")
    texts = ("abc", "dab", "gh", "cabé")
    messages = [
        {"role": role, "content": text} for role, text in zip(roles, texts, strict=True)
    ]
    rows = formats.rows.read(
        [("here", {"messages": messages})], formats.BY_NAME["chat"], tokenizer, 64
    )
    (found,) = language.answered(rows, tokenizer)
    assert found.reference == "cabé"
    text = tokenizer.decode(found.prompt)
    assert text.endswith("<user>gh<assistant>")
    assert found.bytes == len("dab") + len("cabé".encode()) + 2


def test_answers_do_not_depend_on_the_batch(loaded):
    prompts = [loaded.tokenizer.encode(text) for text in ("abc dab", "g", "he" * 9)]
    config = GenerationConfig(max_new_tokens=5)
    found = answers.sampled(loaded, prompts, config, batch=2)
    alone = [
        generate(loaded.model, loaded.tokenizer, [prompt], config)[0].text
        for prompt in prompts
    ]
    assert found == [[text] for text in alone]
    warm = dataclasses.replace(config, temperature=2.0)
    many = answers.sampled(loaded, prompts, warm, samples=3, batch=4)
    assert [len(set(texts)) for texts in many] == [3, 3, 3]
    assert many == answers.sampled(loaded, prompts, warm, samples=3, batch=4)


def test_scores_by_hand():
    texts = [["The cat.", "x #### 5", "y"], ["no #### 7", "#### 7", "#### 7.0"]]
    references = [["cat #### 5", "cat"], ["dog #### 7"]]
    names = ("exact_match", "f1", "final_number", "pass@1", "pass@2", "rouge1", "bleu")
    found = answers.scores(names, texts, references)
    values = {name: m.rows_N.tolist() for name, m in found.items() if name != "bleu"}
    assert values["exact_match"] == [1, 0]
    # `no 7` and `dog 7`
    assert values["f1"] == pytest.approx([1, 0.5])
    assert values["final_number"] == [0, 1]
    assert values["pass@1"] == pytest.approx([1 / 3, 1])
    assert values["pass@2"] == pytest.approx([2 / 3, 1])
    assert "tok:13a" in found["bleu"].signature
    # references without a number: an answer must match exactly
    found = answers.scores(("pass@1",), [["a", "b"]], [["The A!"]])
    assert found["pass@1"].value == 0.5


def test_the_command_writes_a_folder(commands, folder, pairs, tmp_path):
    output = tmp_path / "out"
    args = [f"--model={folder}", f"--source=jsonl:{pairs}", "--format=prompt"]
    done = commands(
        "trainers.evaluate",
        *args,
        "--limit=6",
        "--metrics=exact_match,f1,bleu,chrf,rougeL,pass@2",
        "--references=right",
        "--max_new_tokens=4",
        "--temperature=1",
        "--samples=3",
        f"--output={output}",
    )
    assert done.code == 0, done.out
    assert "6 examples" in done.out and "bleu: nrefs:2|case:mixed" in done.out
    found = json.loads((output / "evaluation.json").read_text())
    assert found["examples"] == 6 and found["samples"] == 3
    assert found["generation"]["temperature"] == 1
    names = "loss perplexity bits_per_byte exact_match f1 bleu chrf rougeL pass@2"
    assert list(found["metrics"]) == names.split()
    for metric in found["metrics"].values():
        assert metric["low"] <= metric["value"] <= metric["high"]
    page = (output / "evaluation.md").read_text()
    assert "| loss |" in page and "bleu: `nrefs:2|" in page
    assert list((output / "tensorboard").glob("events*"))
    done = commands("trainers.evaluate", *args, f"--output={output}")
    assert done.errors == [
        f"error: {output}: is not empty; give a new or an empty folder."
    ]


@pytest.mark.parametrize(
    "fields, words",
    [
        ({"metrics": ("blue",)}, "--metrics: 'blue'. Did you mean bleu?"),
        ({"metrics": ("pass@4",), "samples": 2}, "--samples: 2, at least 4"),
        ({"metrics": ("pass@4",)}, "--temperature: 0 makes all 4 samples equal"),
        ({"metrics": ("bleu",), "tokenize": "jp"}, "--tokenize: 'jp', one of 13a"),
        ({"metrics": ("f1",), "references": "no"}, "--references: 'no' of .*line 1"),
        (
            {"metrics": ("final_number",), "references": "right"},
            "--metrics: final_number, but the reference 'gabe' of example 0",
        ),
        (
            {"metrics": ("f1",), "knobs": {"max_new_tokens": 64}},
            "--max_new_tokens: 64, at most .* context is 64",
        ),
        (
            {"metrics": ("f1",), "knobs": {"beams": 2, "num_return_sequences": 2}},
            "--num_return_sequences: 2, 1 allowed",
        ),
        ({"length": 3}, "tokens, at most 4 allowed; --too_long may be drop or cut"),
        ({"length": 65}, "--length: 65, at most the model's 64"),
        ({"fields": ("x=y",)}, "--fields: 'x'"),
    ],
)
def test_what_is_refused(fields, words, loaded, pairs, monkeypatch):
    def never(*_, **__):
        raise AssertionError("was generated")

    monkeypatch.setattr(answers, "generate", never)
    with pytest.raises(ValueError, match=words):
        language.of_rows(loaded, request(pairs, **fields))


def test_documents_have_no_answers(commands, folder, corpus):
    args = [f"--model={folder}", f"--source=text:{corpus}"]
    done = commands("trainers.evaluate", *args, "--metrics=f1")
    assert "--metrics: documents have no right answers" in done.errors[0]
    done = commands("trainers.evaluate", *args, "--format=promt")
    assert "--format: 'promt'. Did you mean prompt?" in done.errors[0]


def test_what_a_run_of_a_format_held_out(folder, pairs, tmp_path):
    data = Data(source=f"jsonl:{pairs}", format="prompt", hold_out=0.3, batch=4)
    run = Run(
        objective=LanguageModel(),
        data=data,
        steps=2,
        eval_every=2,
        init_from=str(folder),
    )
    result = loop.train(run, tmp_path / "w")
    wanted = Request(held_out=HeldOut(run, 64, "w"), format="prompt")
    trained = directory.load(tmp_path / "w/model")
    found = language.of_rows(trained, wanted)
    assert found.measures["loss"].value == pytest.approx(
        result.metrics["loss"], rel=1e-4
    )
    assert 0 < found.facts["examples"] < 20


def test_bad_and_long_rows_are_left_out(loaded, pairs, tmp_path):
    path = tmp_path / "bad.jsonl"
    lines = pairs.read_text().splitlines()
    path.write_text("\n".join([lines[0], "no", lines[5], lines[1]]))
    wanted = request(path, max_bad_rows=1, too_long="drop", length=40)
    found = language.of_rows(loaded, wanted)
    assert found.facts["bad"] == 1 and found.facts["read"] == 4
    assert found.numbers == (0, 3) and found.facts["dropped"] == 1


def test_classes(tmp_path):
    labels = np.array([0, 1, 2, 1, 0, 1] * 5)
    rng = np.random.default_rng(0)
    probabilities = rng.dirichlet(np.ones(3), 30)
    found = measured.of_classes("x", labels, probabilities, ("a", "b|c", "$d"))
    answered = probabilities.argmax(1)
    assert found.measures["accuracy"].value == np.mean(answered == labels)
    hits = probabilities[np.arange(30), labels]
    assert found.measures["loss"].value == pytest.approx(-np.log(hits).mean())
    summary = report.summary(found, resamples=20)
    assert np.sum(summary["confusion"]["counts"]) == 30
    page = report.markdown(summary)
    assert r"| b\|c |" in page
    report.write(str(tmp_path / "out"), summary, page)
    png = (tmp_path / "out/confusion.png").read_bytes()
    assert tf.io.decode_png(png).shape[0] > 100
    report.write(str(tmp_path / "x.json"), summary, page)
    assert json.loads((tmp_path / "x.json").read_text()) == summary
    report.write(str(tmp_path / "x.md"), summary, page)
    with pytest.raises(ValueError, match="exists"):
        report.check(str(tmp_path / "x.md"))


def test_values():
    values = measured.of_values("x", np.array([1.0, 2.0]), np.array([2.0, 4.0]))
    assert values.measures["loss"].value == 2.5
    assert values.measures["absolute_error"].value == 1.5


def test_bias_by_log_probabilities(loaded, tmp_path):
    path = tmp_path / "pairs.jsonl"
    texts = [("abc dab", "cab"), ("cab", "abc dab"), ("gh", "gh")]
    lines = [json.dumps({"more": a, "less": b}) for a, b in texts]
    path.write_text("\n".join(lines))
    found = audits.bias(loaded, str(path))

    def logprob(text):
        ids = [loaded.tokenizer.end_id, *loaded.tokenizer.encode(text)]
        logp = tf.nn.log_softmax(loaded.model(np.array([ids[:-1]])))[0].numpy()
        return logp[np.arange(len(logp)), ids[1:]].sum()

    margins = [logprob(a) - logprob(b) for a, b in texts]
    assert found.measures["margin"].rows_N == pytest.approx(margins, abs=1e-3)
    assert found.measures["preferred"].value == 0.5
    path.write_text('{"more": "a"}')
    with pytest.raises(ValueError, match="--pairs: .*line 1: less is None"):
        audits.bias(loaded, str(path))


def test_memorised_text_is_found(loaded, corpus, tmp_path, monkeypatch):
    """A model that recites the training text from the third word on."""
    text = corpus.read_text()
    ids = loaded.tokenizer.encode(text)
    (tmp_path / "held_out.txt").write_text(" ".join(reversed(text.split(" "))))

    def recites(model, tokenizer, prompts, config):
        assert config.temperature == 0 and config.max_new_tokens == 12
        real = generate(model, tokenizer, prompts, config)
        return [
            answer._replace(tokens=ids[50:62] if number % 2 else answer.tokens)
            for number, answer in enumerate(real)
        ]

    monkeypatch.setattr(audits, "generate", recites)
    wanted = Request(source=f"text:{tmp_path}/held_out.txt", limit=10)
    found = audits.memorisation(loaded, wanted, f"text:{corpus}", 6)
    assert found.facts["prompts"] == 10
    assert found.measures["repeated"].value == 0.5
    itself = Request(source=f"text:{corpus}", limit=10)
    found = audits.memorisation(loaded, itself, f"text:{corpus}", 6)
    assert found.measures["repeated_reference"].value == 1


def test_audits_as_a_command(commands, folder, corpus, pairs):
    args = [f"--model={folder}", f"--source=text:{corpus}", "--audit=memorisation"]
    done = commands(
        "trainers.evaluate",
        *args,
        f"--train_source=text:{corpus}",
        "--repeated=8",
        "--limit=4",
    )
    assert done.code == 0 and "4 prompts" in done.out, done.out
    assert "repeated_reference 1.0000" in done.out
    done = commands("trainers.evaluate", *args)
    assert done.errors == [
        "error: --train_source: missing; --audit=memorisation needs it."
    ]
    done = commands("trainers.evaluate", f"--model={folder}", f"--pairs={pairs}")
    assert done.errors == ["error: --pairs: only --audit=bias reads it."]
