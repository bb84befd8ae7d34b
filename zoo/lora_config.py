"""The options of LoRA, without TensorFlow, so that a Run can hold them."""

import dataclasses
import math

from zoo.fields import at_least, check_fraction

ALL_LINEAR = "all-linear"


@dataclasses.dataclass(kw_only=True, slots=True)
class Lora:
    """Low-rank adapters, under the names that PEFT has for these options.

    An adapted linear map computes x W^T + scale * x A^T B^T. Only A [rank, inputs] and
    B [outputs, rank] learn. Sources: Hu et al. 2021 (arXiv:2106.09685); Kalajdzievski
    2023 (rsLoRA, arXiv:2312.03732).

    Attributes:
      rank: of A and B; 0 is off.
      alpha: scale is alpha / rank.
      dropout: the rate at the input of the adapters; in [0, 1).
      targets: names of linear maps, such as "q_proj" or "mlp.c_proj", as in PEFT:
        the end of the name in Hugging Face's files. ("all-linear",) is all of them
        but the head. Empty means all linear maps of attention, or all kernels of a
        recurrent model.
      rslora: scale is alpha / sqrt(rank).
    """

    rank: int = 0
    alpha: float = 16.0
    dropout: float = 0.0
    targets: tuple[str, ...] = ()
    rslora: bool = False

    def __post_init__(self):
        at_least("lora.rank", self.rank, 0)
        at_least("lora.alpha", self.alpha, 0)
        check_fraction("lora.dropout", self.dropout)
        if ALL_LINEAR in self.targets and len(self.targets) > 1:
            raise ValueError(
                f"lora.targets: {ALL_LINEAR} beside other names; it stands alone."
            )

    @property
    def scale(self) -> float:
        """The factor of the adapters' product; needs a rank above 0."""
        return scale(self.alpha, self.rank, self.rslora)


def scale(alpha: float, rank: int, rslora: bool) -> float:
    """The factor of the product of A and B of a rank."""
    return alpha / (math.sqrt(rank) if rslora else rank)
