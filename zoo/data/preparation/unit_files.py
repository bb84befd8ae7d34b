"""The files of a unit that is cleaned: a folder that appears by one rename.

texts.utf8        the texts, one behind the other
ends.npy          int64 [D], the byte behind each text
sizes.npy         int64 [D], the characters of each text
keys.npy          uint64 [D, 2]
bands.npy         uint64 [14, D], with `Recipe.near`
signatures.npy    uint32 [D, 112], with `Recipe.near`
lines.npy, line_counts.npy   with `Recipe.lines`
hits.npy          int64 [H, 2], with `Recipe.against`
places.json       where each document is from
counts.json       what the stages did, and the split of the unit
"""

import json
import pathlib
from collections.abc import Iterator
from typing import Any

import numpy as np

from zoo import files
from zoo.data.preparation import minhash
from zoo.data.preparation.units import Processed

FOLDER = "units"


class UnitFiles:
    """The files of unit `number` in the folder of a preparation."""

    def __init__(self, work, number: int):
        self.folder = pathlib.Path(work) / FOLDER / f"{number:06d}"

    def exists(self) -> bool:
        """Whether the unit is cleaned."""
        return self.folder.is_dir()

    def write(self, unit: Processed) -> None:
        """Writes what the stages kept.

        Raises:
          FileError: the system cannot write.
        """
        with files.staged(self.folder) as new:
            ends, end = [], 0
            with open(new / "texts.utf8", "wb") as file:
                for text in unit.texts:
                    end += file.write(text.encode())
                    ends.append(end)
            arrays = {
                "ends": np.array(ends, np.int64),
                "sizes": np.array([len(text) for text in unit.texts], np.int64),
                "keys": unit.keys_D2,
                "lines": unit.lines_L,
                "line_counts": unit.line_counts_D,
                "hits": unit.hits_H2,
            }
            if len(unit.signatures_DH) == len(unit.texts):  # also where there is none
                arrays["signatures"] = unit.signatures_DH
                arrays["bands"] = minhash.bands(unit.signatures_DH)
            for name, array in arrays.items():
                np.save(new / f"{name}.npy", array)
            places = json.dumps(unit.places, ensure_ascii=True)
            (new / "places.json").write_text(places, encoding="utf-8")
            made = {"split": unit.split, **unit.counts}
            (new / "counts.json").write_text(json.dumps(made), encoding="utf-8")

    def array(self, name: str) -> np.ndarray:
        """One of the arrays, which stays on the disk."""
        return np.load(self.folder / f"{name}.npy", mmap_mode="r")

    def counts(self) -> dict[str, Any]:
        """What the stages did; also the split of the unit."""
        return json.loads((self.folder / "counts.json").read_text(encoding="utf-8"))

    def places(self) -> list[str]:
        """Where each document is from."""
        return json.loads((self.folder / "places.json").read_text(encoding="utf-8"))

    def texts(self, chosen_D: np.ndarray) -> Iterator[tuple[int, str]]:
        """The number and the text of each document that is chosen, bool [D]."""
        ends = np.array(self.array("ends"))
        with open(self.folder / "texts.utf8", "rb") as file:
            for number in np.flatnonzero(chosen_D).tolist():
                begin = int(ends[number - 1]) if number else 0
                file.seek(begin)
                yield number, file.read(int(ends[number]) - begin).decode()
