"""The first release of TensorFlow that has an op.

Standard library only. The table comes from the registries of tensorflow-cpu 2.14.1,
2.16.2, 2.18.1, 2.19.1, 2.20.0 and 2.21.0, as `library.registry` reads them. Ops of XLA
and of TPUs are left out: a stock server refuses them anyway.
"""

from collections.abc import Iterable

OLDEST = "2.14"
_NEW = {
    "2.16": """
        ComputeDedupDataSize ConvertToCooTensor DatasetFingerprint DumpTensor
        FFTND GetMinibatchSplitsWithPhysicalReplica
        GetMinibatchesInCsrWithPhysicalReplica GlobalIterId IFFTND IRFFTND
        ListSnapshotChunksDataset RFFTND StoreMinibatchStatisticsInFdo
    """.split(),
    "2.18": """
        CalibrationStatisticsSaver CheckPinned ComputeDedupDataSizeV2
        ComputeDedupDataTupleMaskV2 ConvertToListOfSparseCoreCooTensors
        ConvertToSparseCoreCsrWrappedCooTensor
        GetStatsFromListOfSparseCoreCooTensors GetTpuTaskId GlobalShuffleDataset
        IndexFlatMapDataset IteratorGetModelProto SortListOfSparseCoreCooTensors
        UpdateTaskIdAndGlobalCoreArray WeightedFlatMapDataset
    """.split(),
    "2.20": """
        DecodeWebP
    """.split(),
    "2.21": """
        DecodeJxl
    """.split(),
}


def first(ops: Iterable[str]) -> str:
    """The first release of the table that has all these ops."""
    wanted = set(ops)
    needed = [release for release, new in _NEW.items() if wanted & set(new)]
    return needed[-1] if needed else OLDEST
