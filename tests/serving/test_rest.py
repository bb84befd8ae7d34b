"""What a client meets over REST."""

import base64
import json

import pytest
from tf_serving import LABELS, TYPES, same, transposed

PROMPTS = ["In the beginning", "And", "The king said unto the people, Go up"]


def test_status(rest):
    code, text = rest.ask(rest.model)
    assert code == 200, text
    states = {s["version"]: s for s in json.loads(text)["model_version_status"]}
    assert states
    for state in states.values():
        assert state["state"] == "AVAILABLE", text
        assert state["status"] == {"error_code": "OK", "error_message": ""}
    code, text = rest.ask(f"{rest.model}/versions/{max(states, key=int)}")
    assert code == 200 and "AVAILABLE" in text


def test_metadata_is_what_signature_json_says(rest, described):
    code, text = rest.ask(f"{rest.model}/metadata")
    assert code == 200, text
    found = json.loads(text)["metadata"]["signature_def"]["signature_def"]
    assert {n for n in found if not n.startswith("__")} == set(described)
    for name, about in described.items():
        assert found[name]["method_name"] == "tensorflow/serving/predict"
        for kind in ("inputs", "outputs"):
            assert set(found[name][kind]) == set(about[kind])
            for key, port in about[kind].items():
                got = found[name][kind][key]
                assert got["dtype"] == TYPES[port["dtype"]]
                sizes = [int(dim["size"]) for dim in got["tensor_shape"]["dim"]]
                assert sizes == [-1 if s is None else s for s in port["shape"]]


def test_recorded_requests_in_columns(rest, recorded, described):
    for item in recorded:
        got = rest.columns(item["signature"], item["inputs"])
        outputs = described[item["signature"]]["outputs"]
        if len(outputs) == 1:  # then REST leaves the name out
            got = {next(iter(outputs)): got}
        assert set(got) == set(outputs)
        got = {name: got[name] for name in item["outputs"]}
        assert same(got, item["outputs"]), (item["signature"], got)


def test_rows_are_columns_transposed(rest, recorded, described):
    for item in recorded:
        columns = rest.columns(item["signature"], item["inputs"])
        rows = rest.rows(item["signature"], transposed(item["inputs"]))
        single = len(described[item["signature"]]["outputs"]) == 1
        assert same(rows, columns if single else transposed(columns))


def test_one_input_may_stand_without_its_name(rest, writes):
    plain = rest.rows("serving_default", PROMPTS[:1])
    named = rest.rows("serving_default", [{"prompt": PROMPTS[0]}])
    column = rest.columns("serving_default", PROMPTS[:1])
    assert plain == named == column and isinstance(plain[0], str)
    code, text = rest.predict({"instances": PROMPTS[:1]})
    assert code == 200 and json.loads(text)["predictions"] == plain


def test_a_batch_is_its_single_calls(rest, writes):
    knobs = {"temperature": [0.0, 0.9, 0.0], "seed": [0, 7, 0]}
    together = rest.columns("generate", writes(PROMPTS, **knobs))
    for i, prompt in enumerate(PROMPTS):
        mine = {name: values[i] for name, values in knobs.items()}
        alone = rest.columns("generate", writes([prompt], **mine))
        for name in ("text", "num_tokens", "finish_reason"):
            assert together[name][i] == alone[name][0], (prompt, name)
    assert len(set(together["text"])) > 1


def test_answers_repeat(rest, writes):
    inputs = writes(PROMPTS, temperature=1.0, seed=[1, 2, 3])
    assert rest.columns("generate", inputs) == rest.columns("generate", inputs)


def test_base64_is_the_same_text(rest, writes):
    text = "Gänse — ≥ 3 ?>"  # with + and / in the standard alphabet
    coded = base64.b64encode(text.encode()).decode()
    assert "+" in coded or "/" in coded
    (ids,) = rest.rows("tokenize", [text])
    assert rest.rows("tokenize", [{"b64": coded}]) == [ids]
    assert rest.rows("tokenize", [{"text": {"b64": coded}}]) == [ids]
    inputs = {"tokens": [ids["tokens"]], "lengths": [ids["lengths"]]}
    inputs["continuing"] = [False]
    assert rest.columns("detokenize", inputs) == [text]


def bad(**knobs):
    return lambda writes: {
        "signature_name": "generate",
        "inputs": {**writes(PROMPTS[:2]), **knobs},
    }


def without(writes, name):
    inputs = writes(PROMPTS[:2])
    del inputs[name]
    return inputs


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (bad(max_new_tokens=[4, 0]), "max_new_tokens: row 1 has 0"),
        (bad(max_new_tokens=[10**9, 4]), "max_new_tokens: row 0 has 1000000000"),
        (bad(temperature=[0.5, -1.0]), "temperature: row 1 has -1"),
        (bad(top_p=[1.5, 1.0]), "top_p: row 0 has 1.5"),
        (bad(top_k=[0, -3]), "top_k: row 1 has -3"),
        (bad(repetition_penalty=[0.0, 1.0]), "repetition_penalty: row 0 has 0"),
        (bad(temperature=[0.5, 0.5, 0.5]), ""),  # 3 rows, 2 prompts
        (bad(temperature=["warm", "cold"]), "not of expected type: float"),
        (bad(max_new_tokens=[1.5, 2.5]), "not of expected type: int32"),
        (bad(prompt=[[PROMPTS[0]], [PROMPTS[1]]]), ""),  # rank 2
        (bad(prompt=[{"b64": "/w=="}, "fine"]), "valid UTF-8"),
        (bad(prompt=[{"b64": "*"}, "fine"]), "base64"),
        (lambda _: {"signature_name": "generat", "instances": ["a"]}, "generat"),
        (lambda _: {"instances": []}, "instances"),
        (lambda _: {"instances": ["a", ["b"]]}, ""),
        (lambda _: {"instances": [3]}, "not of expected type: string"),
        (lambda _: {"instances": ["a"], "inputs": ["a"]}, "instances"),
        (lambda _: {"prompt": ["a"]}, "instances"),
        (lambda _: b'{"instances": ["a"', "JSON Parse error"),
        (
            lambda w: {"signature_name": "generate", "inputs": without(w, "seed")},
            "Missing named input: seed",
        ),
        (
            lambda w: {
                "signature_name": "generate",
                "instances": transposed(without(w, "seed")),
            },
            "keys must be equal to",
        ),
    ],
)
def test_a_wrong_request_is_told_what_is_wrong(rest, writes, body, words):
    code, text = rest.predict(body(writes))
    assert code == 400, text
    # the text is searched as it is: older servers escape it in ways that JSON has not
    assert '"error"' in text and words in text
    assert rest.rows("tokenize", ["still there"])  # and nothing broke


def test_what_is_not_there(rest):
    assert rest.ask("/v1/models/nowhere")[0] == 404
    assert rest.ask("/v1/models/nowhere:predict", {"instances": ["a"]})[0] == 404
    assert rest.predict({"instances": ["a"]}, "/versions/987654")[0] == 404
    assert rest.predict({"instances": ["a"]}, "/labels/nobody")[0] in (400, 404)


def test_versions_and_labels_reach_the_model(rest, recorded):
    item = recorded[0]
    usual = rest.columns(item["signature"], item["inputs"])
    _, text = rest.ask(rest.model)
    versions = [s["version"] for s in json.loads(text)["model_version_status"]]
    for where in [f"/versions/{v}" for v in versions] + [
        f"/labels/{x}" for x in LABELS
    ]:
        got = rest.columns(item["signature"], item["inputs"], where)
        assert type(got) is type(usual) and len(got) == len(usual)


def test_prometheus_reads_the_metrics(rest, recorded):
    rest.columns(recorded[0]["signature"], recorded[0]["inputs"])
    code, text = rest.ask("/monitoring/prometheus/metrics")
    assert code == 200, "start the server with deploy/monitoring.config"
    assert "# TYPE :tensorflow:serving:request_count" in text
