"""Folders that all workers of a pipeline reach, by the file systems of Beam.

The root is a path of a disk that all workers share, or such as gs://bucket/data. A
worker makes a folder on its own disk and puts it there; the mark that it is complete
comes last. So a worker that dies leaves no half of a folder that counts, and a folder
that is put twice is the same one.
"""

import json
import pathlib
import shutil
from collections.abc import Callable
from typing import Any

from apache_beam.io.filesystem import CompressionTypes  # type: ignore
from apache_beam.io.filesystems import FileSystems  # type: ignore

_MARKS = "work/done"
_PLAIN = CompressionTypes.UNCOMPRESSED


class Store:
    """The folders below a root.

    Args:
      root: the output of a pipeline.
    """

    def __init__(self, root: str):
        self.root = root

    def has(self, name: str) -> bool:
        """Whether the folder `name` is complete."""
        return FileSystems.exists(self._mark(name))

    def put(
        self,
        folder,
        name: str,
        mark: str = "",
        wanted: Callable[[str], bool] = bool,
    ) -> None:
        """Copies the files of a local folder to the folder `name`.

        Args:
          folder: holds files, and no folders that matter.
          name: such as "work/units/000000"; "" is the root.
          mark: the name that `has` knows; empty is `name`.
          wanted: which files, by name.
        """
        for path in sorted(pathlib.Path(folder).iterdir()):
            if path.is_file() and wanted(path.name):
                with open(path, "rb") as source, self._create(name, path.name) as file:
                    shutil.copyfileobj(source, file, 2**20)
        self.put_json({}, _MARKS, _flat(mark or name))

    def get(self, name: str, folder, wanted: Callable[[str], bool] = bool) -> None:
        """Copies the files of the folder `name` to a local folder.

        Args:
          name: of a folder that is complete.
          folder: a local one; made where it does not exist.
          wanted: which files, by name.
        """
        folder = pathlib.Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        found = FileSystems.match([FileSystems.join(self.root, name, "*")])[0]
        for entry in found.metadata_list:
            base = FileSystems.split(entry.path)[1]
            if base and wanted(base) and not pathlib.Path(entry.path).is_dir():
                with (
                    FileSystems.open(entry.path, compression_type=_PLAIN) as source,
                    open(folder / base, "wb") as file,
                ):
                    shutil.copyfileobj(source, file, 2**20)

    def put_json(self, value: Any, name: str, base: str) -> None:
        """Writes a value to the file `base` of the folder `name`."""
        with self._create(name, base) as file:
            file.write(json.dumps(value).encode())

    def get_json(self, name: str, base: str) -> Any:
        """The value of `put_json`, or None where there is no such file."""
        path = FileSystems.join(self.root, name, base)
        if not FileSystems.exists(path):
            return None
        with FileSystems.open(path, compression_type=_PLAIN) as file:
            return json.loads(file.read())

    def remove(self, name: str) -> None:
        """Removes a folder, with all folders in it."""
        path = FileSystems.join(self.root, name)
        # A bucket has no folders: all names that start like this.
        FileSystems.delete([path + "/" if FileSystems.get_scheme(path) else path])

    def _create(self, name, base):
        """Opens a file of a folder, which may be new, for writing."""
        folder = FileSystems.join(self.root, name) if name else self.root
        try:
            FileSystems.mkdirs(folder)
        except OSError:  # it exists
            pass
        path = FileSystems.join(folder, base)
        return FileSystems.create(path, compression_type=_PLAIN)

    def _mark(self, name):
        """The path of the file that says that a folder is complete."""
        return FileSystems.join(self.root, _MARKS, _flat(name))


def _flat(name: str) -> str:
    """A folder's name as the name of a file."""
    return name.replace("/", ".") or "root"
