"""The files that a server is started with agree with each other."""

import pathlib
import re
import shlex

import pytest

ROOT = pathlib.Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"

# flags of tensorflow_model_server 2.14 to 2.20 that our files may use
FLAGS = {
    "allow_version_labels_for_unavailable_models",
    "enable_batching",
    "enable_per_model_batching_parameters",
    "batching_parameters_file",
    "model_config_file",
    "model_config_file_poll_wait_seconds",
    "monitoring_config_file",
    "per_process_gpu_memory_fraction",
    "rest_api_timeout_in_ms",
    "ssl_config_file",
    "tensorflow_inter_op_parallelism",
    "tensorflow_intra_op_parallelism",
}
FILES = [p for p in sorted(DEPLOY.iterdir()) if p.is_file()]
FILES += [ROOT / "docs/serving.md", ROOT / ".github/workflows/serving.yml"]


def read(name):
    yaml = pytest.importorskip("yaml")
    return list(yaml.safe_load_all((DEPLOY / name).read_text(encoding="utf-8")))


def without_comments(text):
    return [line for line in text.splitlines() if not line.lstrip().startswith("#")]


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_every_flag_is_one_of_the_server(path):
    used = re.findall(r"--([a-z]+_[a-z_]+)\b", path.read_text(encoding="utf-8"))
    ours = "max_new_tokens|top_k|top_p|min_p|repetition_penalty|saved_model"
    ours += "|most_new_tokens|date_string"
    assert {flag for flag in used if not re.fullmatch(ours, flag)} <= FLAGS


def test_compose_and_kubernetes_start_the_server_alike():
    (compose,) = read("docker-compose.yml")
    (gpu,) = read("docker-compose.gpu.yml")
    config_map, deployment, service = read("kubernetes.yaml")
    serving = compose["services"]["serving"]
    pod = deployment["spec"]["template"]
    (container,) = pod["spec"]["containers"]
    command = serving["command"].replace("${TF_SERVING_FLAGS:-}", "")
    assert shlex.split(command) == container["args"]
    tag = container["image"].split(":")[1]
    assert serving["image"] == f"tensorflow/serving:${{TF_SERVING_TAG:-{tag}}}"
    assert gpu["services"]["serving"]["image"] == serving["image"] + "-gpu"
    for name in ("models.config", "monitoring.config"):
        ours = without_comments((DEPLOY / name).read_text(encoding="utf-8"))
        assert without_comments(config_map["data"][name]) == ours
        assert f"=/config/{name}" in command
    mounts = {mount["name"]: mount["mountPath"] for mount in container["volumeMounts"]}
    assert mounts == {"versions": "/models/lm", "config": "/config"}
    assert {v["name"] for v in pod["spec"]["volumes"]} == set(mounts)
    assert service["spec"]["selector"] == pod["metadata"]["labels"]
    ports = {port["name"]: port["containerPort"] for port in container["ports"]}
    assert ports == {"grpc": 8500, "http": 8501}
    assert {p["targetPort"] for p in service["spec"]["ports"]} == set(ports)
    notes = pod["metadata"]["annotations"]
    monitoring = (DEPLOY / "monitoring.config").read_text(encoding="utf-8")
    assert f'path: "{notes["prometheus.io/path"]}"' in monitoring
    assert notes["prometheus.io/port"] == "8501"


def test_models_config_is_what_the_server_parses():
    config = pytest.importorskip("tensorflow_serving.config.model_server_config_pb2")
    from google.protobuf import text_format

    text = (DEPLOY / "models.config").read_text(encoding="utf-8")
    parsed = text_format.Parse(text, config.ModelServerConfig())
    (model,) = parsed.model_config_list.config
    assert (model.name, model.base_path) == ("lm", "/models/lm")
    assert list(model.model_version_policy.specific.versions) == [1]
    assert dict(model.version_labels) == {"stable": 1}
