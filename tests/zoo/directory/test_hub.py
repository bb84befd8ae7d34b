"""The Hub: only what is needed, one commit, from the cache without network.

A server on this machine answers as the Hub does; no other is asked.
"""

import hashlib
import http.server
import json
import os
import shutil
import threading

import huggingface_hub.utils
import numpy as np
import pytest
from directory_cases import SMALL, built
from huggingface_hub import constants

from zoo import directory, lora
from zoo.directory import adapter_writer, hub, safetensors_file
from zoo.lora_config import Lora

NAME = "owner/small-model"
EXTRAS = ("README.md", "pytorch_model.bin", "flax_model.msgpack", "vocab.json")
NEVER = "http://127.0.0.1:9"


class Hub:
    """A server of one repository, whose commits are folders."""

    def __init__(self):
        self.commits, self.branches, self.log = {}, {}, []
        self.cut = {}  # a file's name to how many bytes the next answer has
        hub_ = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *args):
                pass

            def do_GET(self):
                hub_.answer(self)

            do_HEAD = do_GET

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        self.thread = threading.Thread(target=self.server.serve_forever)
        self.thread.start()

    def close(self):
        self.server.shutdown()
        self.thread.join()
        self.server.server_close()

    def answer(self, request):
        path = request.path.split("?")[0]
        self.log.append((request.command, path, request.headers.get("Range")))
        kind, _, rest = path.removeprefix("/").partition(f"{NAME}/")
        what, _, rest = rest.partition("/")
        commit, _, file = rest.partition("/")
        commit = self.branches.get(commit, commit)
        folder = self.commits.get(commit)
        code, body, headers = 404, b"{}", {"X-Error-Code": "RepoNotFound"}
        if folder is None and kind + what:
            headers = {"X-Error-Code": "RevisionNotFound"} if what else headers
        elif (kind, what) == ("api/models/", "revision"):
            code, body = 200, json.dumps({"id": NAME, "sha": commit}).encode()
        elif (kind, what) == ("api/models/", "tree"):
            code, body = 200, json.dumps(self.tree(folder)).encode()
        elif (kind, what) == ("", "resolve"):
            path = folder / file
            code, body = 200, path.read_bytes()
            headers = {"ETag": f'"{digest(path)}"', "X-Repo-Commit": commit}
            start = int((request.headers.get("Range") or "=0-")[6:].split("-")[0] or 0)
            if start:
                code, whole = 206, len(body)
                headers["Content-Range"] = f"bytes {start}-{whole - 1}/{whole}"
                body = body[start:]
        request.send_response(code)
        for name, value in headers.items():
            request.send_header(name, value)
        request.send_header("Content-Length", str(len(body)))
        request.end_headers()
        if request.command == "GET":
            end = self.cut.pop(file, len(body)) if what == "resolve" else len(body)
            request.wfile.write(body[:end])
            if end < len(body):
                request.close_connection = True

    def tree(self, folder):
        return [
            {"type": "file", "path": f.name, "size": f.stat().st_size, "oid": digest(f)}
            for f in folder.iterdir()
        ]

    def got(self):
        """The files that were sent since the last call."""
        names = [
            path.rsplit("/", 1)[1]
            for command, path, _ in self.log
            if command == "GET" and "/resolve/" in path
        ]
        self.log.clear()
        return sorted(names)


def digest(path):
    return hashlib.sha1(path.read_bytes()).hexdigest()


@pytest.fixture
def offline(tmp_path, monkeypatch):
    """The library with a cache of its own, and nobody to ask."""

    def point(url):
        monkeypatch.setattr(constants, "ENDPOINT", url)
        template = url + "/{repo_id}/resolve/{revision}/{filename}"
        monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)

    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_TELEMETRY", True)
    huggingface_hub.utils.disable_progress_bars()
    point(NEVER)
    yield point
    huggingface_hub.utils.enable_progress_bars()
    huggingface_hub.close_session()


@pytest.fixture
def server(offline):
    started = Hub()
    offline(started.url)
    yield started
    started.close()


@pytest.fixture(scope="module")
def models(tmp_path_factory, tokenizer):
    """Two states of a model, the second one in shards."""
    base = tmp_path_factory.mktemp("models")
    found = []
    for name in ("first", "second"):
        model = built("gpt2")
        model.position.weight.assign_add([[1.0 if name == "second" else 0.0]])
        directory.save(base / name, model, tokenizer)
        for extra in EXTRAS:
            (base / name / extra).write_text("not needed")
        found.append((base / name, model))
    cut_in_two(base / "second")
    return found


def cut_in_two(folder):
    tensors = safetensors_file.read(folder)
    index, names = {}, sorted(tensors)
    for i, part in enumerate((names[:5], names[5:])):
        file = f"model-{i}.safetensors"
        shapes = {name: tensors.shapes[name] for name in part}
        safetensors_file.write(folder / file, shapes, [(n, tensors[n]) for n in part])
        index |= dict.fromkeys(part, file)
    (folder / safetensors_file.FILE).unlink()
    (folder / safetensors_file.INDEX).write_text(json.dumps({"weight_map": index}))


def same(loaded, model):
    for mine, other in zip(loaded.model.weights, model.weights, strict=True):
        np.testing.assert_array_equal(mine, other)


A, B = "a" * 40, "b" * 40


def test_only_what_is_needed(server, models):
    (first, model), (second, other) = models
    server.commits = {A: first, B: second}
    server.branches = {"main": A}
    same(directory.load(NAME), model)
    names = ["config.json", "generation_config.json", "model.safetensors"]
    assert server.got() == [*names, "tokenizer.json", "tokenizer_config.json"]
    same(directory.load(NAME), model)
    assert not server.got()  # all of it is in the cache
    # the branch moves on, to shards
    server.branches = {"main": B, "old": A}
    same(directory.load(NAME), other)
    assert {"model-0.safetensors", "model-1.safetensors"} < set(server.got())
    # an older state by its name, and by its number
    for revision in ("old", A):
        same(directory.load(NAME, revision), model)
        assert not server.got()


def test_from_the_cache_without_network(server, offline, models):
    (first, model), (second, other) = models
    server.commits, server.branches = {A: first, B: second}, {"main": A}
    hub.fetch(NAME)
    hub.fetch(NAME, B)
    offline(NEVER)
    same(directory.load(NAME), model)
    same(directory.load(NAME, B), other)


def switch(monkeypatch, on):
    """Sets what HF_HUB_OFFLINE says when the library is imported."""
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", on)
    huggingface_hub.close_session()  # which asked for it when it was made


def test_in_offline_mode(server, models, monkeypatch):
    (first, model), _ = models
    server.commits, server.branches = {A: first}, {"main": A}
    switch(monkeypatch, True)
    with pytest.raises(ValueError, match=f"{NAME}: is not a folder, and cannot be"):
        directory.load(NAME)
    switch(monkeypatch, False)
    hub.fetch(NAME)
    switch(monkeypatch, True)
    server.log.clear()
    with pytest.raises(ValueError, match="cannot be fetched from the Hugging Face Hub"):
        directory.load(NAME, B)
    same(directory.load(NAME), model)
    assert not server.log


def test_a_cache_that_another_program_filled(offline, models, tmp_path, monkeypatch):
    """Folders as the library lays them out: refs, snapshots, blobs."""
    (first, model), _ = models
    repository = tmp_path / "cache" / "models--owner--small-model"
    snapshot = repository / "snapshots" / A
    for folder in (repository / "blobs", repository / "refs", snapshot):
        folder.mkdir(parents=True)
    (repository / "refs/main").write_text(A)
    for path in first.iterdir():
        blob = repository / "blobs" / digest(path)
        blob.write_bytes(path.read_bytes())
        (snapshot / path.name).symlink_to(os.path.relpath(blob, snapshot))
    same(directory.load(NAME), model)
    (snapshot / "model.safetensors").unlink()
    switch(monkeypatch, True)
    with pytest.raises(ValueError) as error:
        directory.load(NAME)
    assert f"{A} has no model.safetensors; pickles" in str(error.value)


def test_a_download_goes_on_where_it_stopped(server, models, monkeypatch):
    monkeypatch.setattr(constants, "DOWNLOAD_CHUNK_SIZE", 4096)
    (first, model), _ = models
    server.commits, server.branches = {A: first}, {"main": A}
    server.cut = {"model.safetensors": 20_000}
    same(directory.load(NAME), model)
    ranges = [
        r for _, path, r in server.log if path.endswith(safetensors_file.FILE) and r
    ]
    assert any(r.startswith("bytes=") and r != "bytes=0-" for r in ranges), ranges


def test_without_network_the_layout_is_named(offline):
    with pytest.raises(ValueError) as error:
        directory.load(NAME)
    message = str(error.value)
    for words in (NAME, "Without network", "config.json", "model.safetensors"):
        assert words in message
    assert "tokenizer.json" in message and "\n" not in message


def test_names_and_revisions_that_are_not_there(server, models):
    server.commits, server.branches = {A: models[0][0]}, {"main": A}
    with pytest.raises(ValueError, match="RepositoryNotFoundError"):
        directory.load("owner/other")
    with pytest.raises(ValueError, match="RevisionNotFoundError"):
        directory.load(NAME, "none")
    with pytest.raises(ValueError, match=r"\(HFValidationError: "):
        directory.load("owner/a--b")


def test_an_index_from_the_hub_that_leads_out(server, models, tmp_path):
    folder = tmp_path / "evil"
    folder.mkdir()
    for name in ("config.json", "tokenizer.json", "tokenizer_config.json"):
        (folder / name).write_bytes((models[0][0] / name).read_bytes())
    index = {"weight_map": {"a": "../../../../evil.safetensors"}}
    (folder / safetensors_file.INDEX).write_text(json.dumps(index))
    server.commits, server.branches = {A: folder}, {"main": A}
    with pytest.raises(ValueError, match="of the same folder allowed"):
        directory.load(NAME)
    assert not [path for _, path, _ in server.log if "evil.safetensors" in path]


@pytest.mark.parametrize("source", ["a/b/c", "/a/b", "./a", "../a/b", "~/a", "a", "a/"])
def test_what_is_no_name_is_a_path(source):
    assert not hub.is_id(source)
    with pytest.raises(ValueError, match="there is no such model directory"):
        directory.load(source)


def test_a_folder_comes_first(offline, models, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "owner").mkdir()
    os.symlink(models[0][0], tmp_path / "owner/small-model")
    same(directory.load(NAME), models[0][1])
    with pytest.raises(ValueError, match="revision 'main': owner/small-model is not a"):
        directory.load(NAME, "main")
    assert SMALL["vocab_size"] == directory.load(NAME).tokenizer.vocab_size


def test_a_repository_with_tf_model_h5_only(server, models, tmp_path):
    """As transformers 4 published some models."""
    tf_only = shutil.copytree(models[0][0], tmp_path / "tf")
    (tf_only / "model.safetensors").unlink()
    (tf_only / "SHA256SUMS").unlink()
    server.commits, server.branches = {A: tf_only}, {"main": A}
    with pytest.raises(ValueError, match="has no model.safetensors; pickles"):
        hub.fetch(NAME)
    (tf_only / "tf_model.h5").write_bytes(b"weights")
    server.commits, server.branches = {B: tf_only}, {"main": B}
    folder = hub.fetch(NAME)
    assert (folder / "tf_model.h5").read_bytes() == b"weights"
    assert "pytorch_model.bin" not in server.got()


def test_a_tokenizer_without_the_weights(server, models, tokenizer):
    server.commits, server.branches = {A: models[0][0]}, {"main": A}
    found = directory.read_tokenizer(NAME)
    assert found.json == tokenizer.json
    assert not [name for name in server.got() if name.endswith("safetensors")]


def test_adapters_and_their_base(server, models, tmp_path):
    """The adapters come from the Hub, and so does their base, by its name in them."""
    (first, _), _ = models
    options = Lora(rank=2)
    model = directory.load(first).model
    lora.add(model, options)
    for variable in lora.learning(model):
        variable.assign_add(variable * 0 + 0.1)
    adapter_writer.save(tmp_path / "adapter", model, options, NAME)
    (tmp_path / "adapter/README.md").write_text("not needed")
    config = json.loads((tmp_path / "adapter/adapter_config.json").read_text())
    assert config["base_model_name_or_path"] == NAME
    config["revision"] = A
    (tmp_path / "adapter/adapter_config.json").write_text(json.dumps(config))
    server.commits, server.branches = {A: first, B: tmp_path / "adapter"}, {"main": B}
    loaded = directory.load(NAME)
    same(loaded, lora.merged(model))
    assert "README.md" not in server.got()
    assert loaded.tokenizer.encode("abc") == directory.read_tokenizer(NAME).encode(
        "abc"
    )
