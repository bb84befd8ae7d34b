"""Runs a SavedModel through TensorFlow's C API, without Python TensorFlow.

Standard library only: a program that imports this file has the C++ runtime and the
SavedModel, as a server has. XLA is off, as in a stock `tensorflow_model_server`. Tested
with the libraries of the `tensorflow` wheels.

    session = Session("served/1")
    session.run("serving_default", {"prompt": ["Once"]})["text"].tolist()
"""

import ctypes
from collections.abc import Iterable
from typing import Any

from zoo.saved_model.checker import library, wire
from zoo.saved_model.checker.tensors import CODES, DTYPES, STRING, Tensor, tensor

_STRING_BYTES = 24  # sizeof(TF_TString)
_CODES = (
    "OK CANCELLED UNKNOWN INVALID_ARGUMENT DEADLINE_EXCEEDED NOT_FOUND ALREADY_EXISTS "
    "PERMISSION_DENIED RESOURCE_EXHAUSTED FAILED_PRECONDITION ABORTED OUT_OF_RANGE "
    "UNIMPLEMENTED INTERNAL UNAVAILABLE DATA_LOSS UNAUTHENTICATED"
).split()


class Error(Exception):
    """TensorFlow refused: `code` is such as "INVALID_ARGUMENT", `text` its message."""

    def __init__(self, code: str, text: str):
        super().__init__(f"{code}: {text}")
        self.code, self.text = code, text


class _Output(ctypes.Structure):
    _fields_ = [("operation", ctypes.c_void_p), ("index", ctypes.c_int)]


class Session:
    """A loaded SavedModel; `run` may be called from several threads at once.

    Attributes:
      signatures: name -> wire.Signature.
    """

    def __init__(
        self,
        path: str,
        tags: Iterable[str] = ("serve",),
        tensorflow: str | None = None,
    ):
        """Loads the SavedModel in folder `path`.

        Args:
          path: the folder with saved_model.pb.
          tags: of the graph to load.
          tensorflow: the folder of a tensorflow package, of any environment and
            release; by default that of this environment.

        Raises:
          ValueError: there is no such library.
          Error: TensorFlow cannot load the SavedModel.
        """
        self._lib = lib = library.load(str(tensorflow or library.folder()))
        names = [tag.encode() for tag in tags]
        options, buffer = lib.TF_NewSessionOptions(), lib.TF_NewBuffer()
        self._graph, self._session = lib.TF_NewGraph(), None
        try:
            self._session = self._call(
                lib.TF_LoadSessionFromSavedModel,
                options,
                None,
                str(path).encode(),
                (ctypes.c_char_p * len(names))(*names),
                len(names),
                self._graph,
                buffer,
            )
            self.signatures = wire.signatures(library.contents(buffer))
        except Error:
            self.close()
            raise
        finally:
            lib.TF_DeleteBuffer(buffer)
            lib.TF_DeleteSessionOptions(options)

    def run(self, signature: str, inputs: dict[str, Any]) -> dict[str, Tensor]:
        """Calls a signature; an input that is left out takes its default, as in gRPC.

        Args:
          signature: its name.
          inputs: name -> a value that `tensors.tensor` accepts.

        Returns:
          name -> Tensor, for every output.

        Raises:
          ValueError: a wrong name, or a value that does not fit its type.
          Error: TensorFlow refused the request.
        """
        known = self.signatures.get(signature)
        if known is None:
            raise ValueError(_unknown("signature", signature, self.signatures))
        values = {**known.defaults, **inputs}
        for name in values.keys() ^ known.inputs.keys():
            if name in values:
                raise ValueError(_unknown(f"{signature}: input", name, known.inputs))
            raise ValueError(f"{signature}: input {name!r} is missing.")
        feeds, fetched = [], []
        try:
            for name, info in known.inputs.items():
                where = f"{signature}: input {name!r}"
                feeds.append(self._feed(tensor(values[name], info.dtype, where)))
            infos = list(known.inputs.values()), list(known.outputs.values())
            handles = (ctypes.c_void_p * len(infos[1]))()
            self._call(
                self._lib.TF_SessionRun,
                self._session,
                None,
                self._places(infos[0]),
                (ctypes.c_void_p * len(feeds))(*(handle for handle, _ in feeds)),
                len(feeds),
                self._places(infos[1]),
                handles,
                len(handles),
                None,
                0,
                None,
            )
            fetched = list(handles)
            return dict(
                zip(known.outputs, (self._fetch(h) for h in fetched), strict=True)
            )
        finally:
            # An output may share memory with an input: free the inputs last.
            for handle in fetched:
                self._lib.TF_DeleteTensor(handle)
            for handle, strings in feeds:
                self._free(handle, strings)

    def close(self) -> None:
        """Frees the model; no call may be running."""
        if self._session:
            self._call(self._lib.TF_CloseSession, self._session)
            self._call(self._lib.TF_DeleteSession, self._session)
            self._session = None
        if self._graph:
            self._lib.TF_DeleteGraph(self._graph)
            self._graph = None

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def _call(self, function, *arguments):
        """Calls a C function with a TF_Status as its last argument."""
        status = self._lib.TF_NewStatus()
        try:
            result = function(*arguments, status)
            code = self._lib.TF_GetCode(status)
            if code:
                name = _CODES[code] if code < len(_CODES) else str(code)
                text = self._lib.TF_Message(status).decode("utf-8", "replace")
                raise Error(name, text)
            return result
        finally:
            self._lib.TF_DeleteStatus(status)

    def _places(self, infos: list[wire.TensorInfo]):
        """The TF_Output array of tensors of the graph."""
        places = (_Output * len(infos))()
        for place, info in zip(places, infos, strict=True):
            name, _, index = info.tensor.rpartition(":")
            operation = self._lib.TF_GraphOperationByName(self._graph, name.encode())
            if not operation:
                raise Error("NOT_FOUND", f"the graph has no tensor {info.tensor!r}")
            place.operation, place.index = operation, int(index)
        return places

    def _feed(self, value: Tensor) -> tuple[int, int]:
        """Makes a TF_Tensor; returns it and the number of its strings."""
        lib, count = self._lib, len(value.data)
        strings = value.dtype == STRING
        sizes = (ctypes.c_int64 * len(value.shape))(*value.shape)
        size = count * _STRING_BYTES if strings else count
        handle = lib.TF_AllocateTensor(
            CODES[value.dtype], sizes, len(value.shape), size
        )
        start = lib.TF_TensorData(handle)
        if not strings:
            ctypes.memmove(start, value.data, count)
            return handle, 0
        for i, text in enumerate(value.data):
            lib.TF_StringInit(start + i * _STRING_BYTES)
            lib.TF_StringCopy(start + i * _STRING_BYTES, text, len(text))
        return handle, count

    def _fetch(self, handle: int) -> Tensor:
        """Copies a TF_Tensor."""
        lib = self._lib
        shape = tuple(lib.TF_Dim(handle, i) for i in range(lib.TF_NumDims(handle)))
        code = lib.TF_TensorType(handle)
        if code not in DTYPES:
            raise Error("UNIMPLEMENTED", f"an output has type {code}")
        start, size = lib.TF_TensorData(handle), lib.TF_TensorByteSize(handle)
        dtype = DTYPES[code][0]
        if dtype != STRING:
            return Tensor(dtype, shape, ctypes.string_at(start, size) if size else b"")
        places = range(start or 0, (start or 0) + size, _STRING_BYTES)
        read, length = lib.TF_StringGetDataPointer, lib.TF_StringGetSize
        strings = tuple(ctypes.string_at(read(p), length(p)) for p in places)
        return Tensor(dtype, shape, strings)

    def _free(self, handle: int, strings: int) -> None:
        """Frees a TF_Tensor and its strings."""
        start = self._lib.TF_TensorData(handle) if strings else 0
        for i in range(strings):  # TF_DeleteTensor frees the array, not its strings
            self._lib.TF_StringDealloc(start + i * _STRING_BYTES)
        self._lib.TF_DeleteTensor(handle)


def _unknown(what: str, name: str, allowed: Iterable[str]) -> str:
    return f"{what} {name!r} is unknown. Allowed: {', '.join(sorted(allowed))}."
