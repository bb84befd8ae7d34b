"""Skips the tests of a server where there is none, and says what it serves."""

import json
import pathlib

import pytest
import tf_serving

HERE = pathlib.Path(__file__).parent


def pytest_collection_modifyitems(items):
    if not tf_serving.ADDRESS:
        reason = "TF_SERVING_ADDRESS is not set: no TensorFlow Serving to test"
        for item in items:
            if HERE in item.path.parents:
                item.add_marker(pytest.mark.skip(reason=reason))


@pytest.fixture(scope="session")
def rest():
    return tf_serving.Rest(tf_serving.ADDRESS, tf_serving.MODEL)


@pytest.fixture(scope="session")
def described():
    """What signature.json says of each signature."""
    path = tf_serving.FOLDER / "assets.extra" / "signature.json"
    return json.loads(path.read_text(encoding="utf-8"))["signatures"]


@pytest.fixture(scope="session")
def recorded():
    """The requests that the export recorded, with their answers."""
    path = tf_serving.FOLDER / "assets.extra" / "requests.json"
    return json.loads(path.read_text(encoding="utf-8"))


@pytest.fixture(scope="session")
def writes(described):
    """Skips where the model generates no text; else `tf_serving.generate` for it."""
    if "generate" not in described:
        pytest.skip("the model has no signature `generate`")

    def columns(prompts, **knobs):
        return tf_serving.generate(described, prompts, **knobs)

    return columns
