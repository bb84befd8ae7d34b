"""Many clients at once, each with its own knobs, get what one alone gets."""

import concurrent.futures

import pytest
from tf_serving import BATCHING, GRPC, MODEL, client

pytest.importorskip("grpc")

CLIENTS = 16


def requests(writes):
    """As many different requests: greedy and sampled, short and long."""
    for i in range(CLIENTS):
        prompt = "In the beginning" + " and the king" * (i % 3)
        sampled = {"temperature": 0.9, "seed": i, "top_k": 20} if i % 2 else {}
        yield writes([prompt], max_new_tokens=3 + i % 7, **sampled)


@pytest.fixture(params=["rest", "grpc"])
def ask(request, rest, described):
    """Sends columns to `generate`; returns the texts."""
    if request.param == "rest":
        yield lambda inputs: rest.columns("generate", inputs)["text"]
        return
    grpc_client = client("client_grpc")
    ports = described["generate"]["inputs"]

    def call(inputs):
        inputs = {
            name: grpc_client.tensor(value, ports[name]["dtype"])
            for name, value in inputs.items()
        }
        message = grpc_client.request(MODEL, "generate", inputs)
        found = grpc_client.predict(channel, message)["text"]
        return [text.decode() for text in found]

    with grpc_client.connect(GRPC) as channel:
        yield call


def test_answers_do_not_depend_on_other_clients(ask, writes):
    asked = list(requests(writes))
    alone = [ask(inputs) for inputs in asked]
    assert len({text for (text,) in alone}) > 1
    with concurrent.futures.ThreadPoolExecutor(CLIENTS) as pool:
        for _ in range(3):
            assert list(pool.map(ask, asked)) == alone


def test_the_server_did_batch(rest, writes):
    if not BATCHING:
        pytest.skip("TF_SERVING_BATCHING is not 1: the server does not batch")
    asked = list(requests(writes))
    with concurrent.futures.ThreadPoolExecutor(CLIENTS) as pool:
        list(pool.map(lambda inputs: rest.columns("generate", inputs), asked))
    _, text = rest.ask("/monitoring/prometheus/metrics")
    assert ":tensorflow:serving:batching_session:" in text


def test_a_batch_beyond_the_largest_is_refused_whole(rest, writes):
    if not BATCHING:
        pytest.skip("TF_SERVING_BATCHING is not 1: the server does not batch")
    body = {"signature_name": "generate", "inputs": writes(["And"] * 500)}
    code, text = rest.predict(body)
    assert code == 400 and "500" in text
