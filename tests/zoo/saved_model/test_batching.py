"""In-graph batching: what is merged, and that no answer shows it."""

import random
import threading
import time

import pytest
import tensorflow as tf

from zoo.decode import generate
from zoo.directory import GenerationConfig
from zoo.saved_model import batching
from zoo.saved_model.checker.graph import Graph
from zoo.saved_model.checker.recorded import near

SIZE = 4


def together(calls):
    """Runs all calls at once; their results in order."""
    results, begin = [None] * len(calls), threading.Barrier(len(calls))

    def work(i):
        begin.wait()
        try:
            results[i] = calls[i]()
        except Exception as error:
            results[i] = error

    threads = [threading.Thread(target=work, args=[i]) for i in range(len(calls))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return results


# ---- the operation ----


@pytest.fixture(scope="module")
def ask():
    """`ask(queue, rows, cost)` gives what was in the batch with these rows.

    A batch waits for long: it runs when it is full.
    """
    merge, functions = batching.Batching(SIZE), {}

    def mates(ids, cost_B):
        del cost_B
        row_B = tf.strings.reduce_join(tf.strings.as_string(ids), axis=-1)
        everyone = tf.strings.reduce_join(row_B, separator="|")
        return {"ids": row_B, "mates": tf.fill(tf.shape(row_B), everyone)}

    def add(name, costs):
        @tf.function(
            autograph=False,
            input_signature=[
                tf.RaggedTensorSpec([None, None], tf.int32, 1, tf.int64),
                tf.TensorSpec([None], tf.int32),
            ],
        )
        def call(ids, cost_B):
            return merge(mates, [ids, cost_B], cost_B if costs else None)

        functions[name] = call.get_concrete_function()

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(batching, "_WAIT", 10_000_000)
        patch.setattr(batching, "_WAIT_TO_GENERATE", 10_000_000)
        for name in ("one", "other", "costly"):
            add(name, costs=name == "costly")

    def ask(name, rows, cost=1):
        ids = tf.ragged.constant(rows, tf.int32, 1, row_splits_dtype=tf.int64)
        out = functions[name](ids, tf.fill([len(rows)], cost))
        assert out["ids"].numpy().tolist() == [
            "".join(map(str, row)).encode() for row in rows
        ]
        (seen,) = set(out["mates"].numpy().tolist())
        return sorted(seen.decode().split("|"))

    return ask


def test_calls_at_once_are_one_batch(ask):
    rows = [[[1]], [[22, 2], []], [[3]]]
    results = together([lambda r=r: ask("one", r) for r in rows])
    assert results == [["", "1", "222", "3"]] * 3


def test_more_rows_than_a_batch_holds(ask):
    assert ask("one", [[i] for i in range(SIZE + 2)]) == ["0", "1", "2", "3", "4", "5"]


def test_exports_in_one_process_have_options_of_their_own(monkeypatch):
    def built(size):
        merge = batching.Batching(size)

        @tf.function(autograph=False, input_signature=[tf.TensorSpec([None], tf.int32)])
        def call(x_B):
            return merge(lambda x: {"rows": tf.fill(tf.shape(x), tf.size(x))}, [x_B])

        return call.get_concrete_function()

    built(2)(tf.constant([1]))  # its queue has the same number
    monkeypatch.setattr(batching, "_WAIT", 10_000_000)
    call = built(SIZE)
    results = together([lambda: call(tf.constant([1, 2]))["rows"].numpy().tolist()] * 2)
    assert results == [[SIZE, SIZE]] * 2


def test_signatures_have_queues_of_their_own(ask):
    names = ["one", "other", "costly"] * 2
    calls = [lambda n=n, i=i: ask(n, [[i], [i]]) for i, n in enumerate(names)]
    results = ["0", "0", "3", "3"], ["1", "1", "4", "4"], ["2", "2", "5", "5"]
    assert together(calls) == [*results] * 2


def test_rows_of_other_costs_wait_elsewhere(ask):
    costs = [batching._COSTS[0], *(cost + 1 for cost in batching._COSTS)] * 2
    results = together([lambda c=c: ask("costly", [[c], [c]], c) for c in costs])
    assert results == [[str(cost)] * 4 for cost in costs]


# ---- an artefact ----


def test_the_graph_has_queues_where_they_were_asked_for(plain, batched):
    for one, wanted in ((plain, False), (batched, True)):
        graph = Graph(str(one.folder))
        nodes = [node.op for nodes in graph.functions.values() for node in nodes]
        assert ("BatchFunction" in nodes) == wanted


def pool(rng):
    """Rows of requests: different in everything that a request may say."""
    for i in range(12):
        yield {
            "prompt": "".join(rng.choices("abcdefghij é", k=rng.randint(0, 12))),
            "max_new_tokens": rng.choice([1, 5, 9, 14]),
            "temperature": rng.choice([0.0, 0.7, 1.5]),
            "top_k": rng.choice([0, 3, 40]),
            "top_p": rng.choice([1.0, 0.8]),
            "min_p": rng.choice([0.0, 0.05]),
            "repetition_penalty": rng.choice([1.0, 1.4]),
            "seed": i,
            "stop": tuple(rng.sample(["a", "b", "cd", "x", "e "], rng.randint(1, 3))),
        }


def test_generated_texts_do_not_show_it(batched):
    """Neither to requests of several rows, nor to those that are cut or too large."""
    rng = random.Random(0)
    rows = list(pool(rng))
    wanted = []
    for row in rows:
        knobs = {name: value for name, value in row.items() if name != "prompt"}
        model, tokenizer, _ = batched.loaded
        wanted += generate(model, tokenizer, [row["prompt"]], GenerationConfig(**knobs))
    requests = [
        [rng.randrange(len(rows)) for _ in range(rng.randint(1, SIZE + 1))]
        for _ in range(64)
    ]

    def send(request):
        columns = {name: [rows[i][name] for i in request] for name in rows[0]}
        width = max(map(len, columns["stop"]))
        columns["stop"] = [[*s, *[""] * (width - len(s))] for s in columns["stop"]]
        return batched.run("generate", **columns)

    def sends(turn):
        return [send(request) for request in requests[turn::8]]

    results = together([lambda turn=turn: sends(turn) for turn in range(8)])
    for turn, answers in enumerate(results):
        for request, got in zip(requests[turn::8], answers, strict=True):
            N = max(rows[i]["max_new_tokens"] for i in request)
            for place, i in enumerate(request):
                tokens, count = wanted[i].tokens, got["num_tokens"][place]
                assert got["tokens"][place] == tokens + [0] * (N - count)
                assert len(got["token_logprobs"][place]) == N
                text = got["text"][place].decode()
                assert wanted[i].text in (text, text + "\ufffd")
                assert got["finish_reason"][place].decode() == wanted[i].finish_reason
                logprob = pytest.approx(wanted[i].logprob, abs=1e-4)
                assert got["logprob"][place] == logprob


def test_scores_and_embeddings_do_not_show_it(batched):
    """Nor that both are asked at the same time."""
    texts = ["", "ab", "cab ed", "é\0", "jihgf e dcba"]
    asked = [
        {"signature": "score", "prompt": texts, "completion": texts[::-1]},
        {"signature": "score", "prompt": ["ab"], "completion": ["jj ab é"]},
        {"signature": "score", "prompt": ["a", ""], "completion": ["", "b"]},
        {"signature": "embed", "text": texts},
        {"signature": "embed", "text": ["ab"]},
        {"signature": "embed", "text": ["c", "dd e"]},
    ]

    def ask(request):
        inputs = {name: x for name, x in request.items() if name != "signature"}
        return batched.session.run(request["signature"], inputs)

    alone = [ask(request) for request in asked]
    for _ in range(5):
        merged = together([lambda r=r: ask(r) for r in asked + asked[1:3]])
        for got, wanted in zip(merged, alone + alone[1:3], strict=True):
            for name in wanted:
                assert near(got[name], wanted[name].tolist(), name)


def test_a_long_request_does_not_hold_back_short_ones(batched):
    ended, tokens = [], 20_000

    def long():
        got = batched.run("generate", prompt=["abc"], max_new_tokens=[tokens])
        ended.append(got["num_tokens"])

    thread = threading.Thread(target=long)
    thread.start()
    time.sleep(0.1)  # the long one has left its queue
    for _ in range(3):
        batched.run("generate", prompt=["ab", "c"], max_new_tokens=[4])
        ended.append("short")
    thread.join()
    assert ended == ["short", "short", "short", [tokens]]
