"""Makes golden/preference.npz by TRL and torch, in float64.

Run it as `make_golden.py` beside it. The losses of TRL are methods, which are called on
a stub of their trainer and a model whose logits are leaves.
"""

import pathlib
from collections import defaultdict
from types import SimpleNamespace

import numpy as np
import torch
import torch.nn.functional as F
from trl import DPOTrainer, KTOTrainer, RewardTrainer
from trl.experimental.cpo import CPOTrainer
from trl.experimental.orpo import ORPOTrainer

PATH = pathlib.Path(__file__).parent / "golden" / "preference.npz"
CASES, B, T, V = 20, 3, 7, 5
OF_DPO = {
    "sigmoid": "sigmoid",
    "robust": "robust",
    "hinge": "hinge",
    "ipo_norm": "ipo",
    "sigmoid_norm": "sigmoid_norm",
}
KINDS = (*OF_DPO, "ipo", "conservative", "kto", "simpo", "orpo", "reward")


class Stub(SimpleNamespace):
    """What the methods read of their trainers, beside their own options."""

    def __init__(self, **fields):
        accelerator = SimpleNamespace(
            device="cpu",
            gather=lambda x: x,
            gather_for_metrics=lambda x: x,
        )
        super().__init__(
            model=SimpleNamespace(training=True),
            accelerator=accelerator,
            aux_loss_enabled=False,
            precompute_ref_logps=True,
            _metrics={"train": defaultdict(list)},
            _total_train_tokens=0,
            **fields,
        )


def case_of(kind, rng):
    """Ragged answers of 2 B rows: one token, a full row, and lengths between."""
    wide = kind != "orpo" and rng.random() < 0.5
    shape = (2 * B, T, V)
    logits = rng.uniform(-30, 30, shape) if wide else rng.normal(0, 2, shape)
    ids = rng.integers(0, V, (2 * B, T))
    first = rng.integers(1, T, 2 * B)
    last = np.array([rng.integers(f + 1, T + 1) for f in first])
    first[0], last[0] = 1, T
    last[1] = first[1] + 1
    place = np.arange(T)[None]
    mask = (place >= first[:, None]) & (place < last[:, None])
    tensors = {
        "logits": logits.astype(np.float32),
        "ids": ids.astype(np.int32),
        "mask": mask.astype(np.float32),
        "reference": rng.normal(-8, 3, 2 * B).astype(np.float32),
        "beta": rng.choice([0.05, 0.1, 0.5]),
        "label_smoothing": rng.choice([0.1, 0.3]),
        "kl_ratios": rng.normal(0.5, 1, 2 * B).astype(np.float32),
        "desirable": rng.choice([1.0, 1.3]),
        "undesirable": rng.choice([1.0, 0.7]),
        "gamma": rng.choice([0.3, 0.5]),
        "rewards": rng.normal(0, 2, 2 * B).astype(np.float32),
        "margin": rng.uniform(0, 1, B).astype(np.float32),
        "center": rng.choice([0.01, 0.3]),
    }
    leaf = torch.tensor(np.float64(tensors["logits"])).requires_grad_()
    rewards = torch.tensor(np.float64(tensors["rewards"])).requires_grad_()
    loss = loss_of(kind, tensors, leaf, rewards)
    loss.backward()
    gradient = rewards.grad if kind == "reward" else leaf.grad
    return tensors | {"loss": loss.item(), "gradient": np.float32(gradient.numpy())}


def sums_of(leaf, tensors, averaged=False):
    """The log-probabilities of the answers, chosen and rejected."""
    ids, mask = torch.tensor(np.int64(tensors["ids"])), torch.tensor(tensors["mask"])
    logp = torch.log_softmax(leaf[:, :-1], -1).gather(-1, ids[:, 1:, None])[..., 0]
    sums = (logp * mask[:, 1:]).sum(-1)
    return (sums / mask[:, 1:].sum(-1) if averaged else sums).chunk(2)


def loss_of(kind, tensors, leaf, rewards):
    """The loss of TRL; of `conservative` and `ipo`, that of the papers."""
    beta, smoothing = float(tensors["beta"]), float(tensors["label_smoothing"])
    reference = torch.tensor(np.float64(tensors["reference"]))
    ids = torch.tensor(np.int64(tensors["ids"]))
    mask = torch.tensor(np.int64(tensors["mask"]))
    inputs = {"input_ids": ids, "attention_mask": mask, "completion_mask": mask}

    def model(**_):
        # leaves may not be written in place, and the trainers do
        return SimpleNamespace(logits=leaf * 1.0)

    if kind in OF_DPO:
        stub = Stub(
            args=SimpleNamespace(discopop_tau=0.05),
            loss_types=[OF_DPO[kind]],
            loss_weights=[1.0],
            beta=beta,
            label_smoothing=smoothing if kind == "robust" else 0.0,
            f_divergence_type="reverse_kl",
            f_alpha_divergence_coef=0.5,
            ld_alpha=None,
            use_weighting=False,
        )
        chosen, rejected = reference.chunk(2)
        inputs |= {"ref_chosen_logps": chosen, "ref_rejected_logps": rejected}
        return DPOTrainer._compute_loss(stub, model, inputs, False)
    if kind == "kto":
        ratios = torch.tensor(np.float64(tensors["kl_ratios"]))
        stub = Stub(
            loss_type="kto",
            beta=beta,
            desirable_weight=float(tensors["desirable"]),
            undesirable_weight=float(tensors["undesirable"]),
            calculate_KL=True,
            _compute_kl_logps=lambda model, batch: ratios,
        )
        labels = torch.arange(2 * B) < B
        inputs |= {"label": labels, "ref_logps": reference}
        inputs["ref_KL_logps"] = torch.zeros_like(ratios)
        return KTOTrainer._compute_loss(stub, model, inputs, False)
    if kind == "reward":
        stub = Stub(
            args=SimpleNamespace(center_rewards_coefficient=float(tensors["center"]))
        )
        margin = torch.tensor(np.float64(tensors["margin"]))
        return RewardTrainer.compute_loss(
            stub,
            lambda **_: SimpleNamespace(logits=rewards[:, None]),
            {"attention_mask": mask, "margin": margin},
        )
    if kind in ("simpo", "orpo"):
        both = sums_of(leaf, tensors, averaged=True)
        stub = Stub(
            beta=beta,
            label_smoothing=0.0,
            loss_type="simpo",
            simpo_gamma=float(tensors["gamma"]),
            alpha=0.0,
        )
        if kind == "simpo":
            return CPOTrainer.cpo_loss(stub, *both)[0].mean()
        return (-both[0] - ORPOTrainer.odds_ratio_loss(stub, *both)[0]).mean()
    chosen, rejected = sums_of(leaf, tensors)
    ref_chosen, ref_rejected = reference.chunk(2)
    gap = (chosen - ref_chosen) - (rejected - ref_rejected)
    if kind == "ipo":
        return ((gap - 1 / (2 * beta)) ** 2).mean()
    right, wrong = F.logsigmoid(beta * gap), F.logsigmoid(-beta * gap)
    return (-(1 - smoothing) * right - smoothing * wrong).mean()


if __name__ == "__main__":
    arrays = {}
    for number, kind in enumerate(KINDS):
        cases = [
            case_of(kind, np.random.default_rng((number, i))) for i in range(CASES)
        ]
        for name in cases[0]:
            arrays[f"{kind}/{name}"] = np.stack([case[name] for case in cases])
    np.savez_compressed(PATH, **arrays)
