"""Makes golden/policy.npz and golden/advantages.npz by TRL and torch, in float64.

    python3 -m venv /tmp/trl
    /tmp/trl/bin/pip install torch==2.13.0 transformers==5.24.0 trl==1.9.0
    /tmp/trl/bin/python tests/trainers/losses/make_golden.py

TRL's trainers do not export their losses as functions. Those of GRPO and RLOO are
methods, called here on a stub of the trainer. The other formulas are lines in the
middle of a long method. They are cut out of the installed TRL by their first and last
words, and run as they are.
"""

import inspect
import pathlib
import textwrap
from collections import defaultdict
from types import SimpleNamespace

import numpy as np
import torch
from trl import GRPOTrainer, RLOOTrainer
from trl.experimental.ppo import ppo_trainer
from trl.trainer import utils

FOLDER = pathlib.Path(__file__).parent / "golden"
CASES = 20
B, T = 6, 9
MAX_LENGTH = 12
AGGREGATIONS = ("grpo", "dapo", "dr_grpo", "bnpo", "gspo", "rloo")


def save(name, losses):
    """Writes loss to cases, dicts of equal shapes, as "loss/tensor" [cases, ...]."""
    FOLDER.mkdir(exist_ok=True)
    arrays = {
        f"{loss}/{tensor}": np.stack([case[tensor] for case in cases])
        for loss, cases in losses.items()
        for tensor in cases[0]
    }
    np.savez_compressed(FOLDER / f"{name}.npz", **arrays)


def ragged(rng, rows=B, length=T, first=0):
    """Masks float32 [rows, length] of answers from `first` on.

    One is empty, one has a single token, one is full.
    """
    most = length - first
    lengths = rng.integers(1, most + 1, rows)
    lengths[rng.permutation(rows)[:3]] = 0, 1, most
    place = np.arange(length)[None] - first
    return ((place >= 0) & (place < lengths[:, None])).astype(np.float32)


def logprobs(rng, rows=B, length=T, vocabulary=5):
    """Log-probabilities of tokens under logits of up to +-30, float32."""
    logits = torch.tensor(rng.uniform(-30, 30, (rows, length, vocabulary)))
    targets = torch.tensor(rng.integers(0, vocabulary, (rows, length)))
    logp = torch.log_softmax(logits, -1).gather(-1, targets[..., None])[..., 0]
    return logp.numpy().astype(np.float32)


def double(array):
    return torch.tensor(np.asarray(array, np.float64))


def lines_of(function, first, last):
    """The lines of a method from the one with `first` to the one with `last`."""
    text = inspect.getsource(function)
    assert text.count(first) == 1, first
    begin = text.rindex("\n", 0, text.index(first)) + 1
    end = text.index("\n", text.index(last, begin))
    return compile(textwrap.dedent(text[begin:end]), first, "exec")


# ---- the losses of policies ----


class Stub(SimpleNamespace):
    """What a trainer's `_compute_loss` reads, where it is not a number."""

    def __init__(self, logp, **fields):
        accelerator = SimpleNamespace(
            num_processes=1, reduce=lambda x, reduction: x, gather=lambda x: x
        )
        super().__init__(
            model=SimpleNamespace(training=True),
            accelerator=accelerator,
            aux_loss_enabled=False,
            current_gradient_accumulation_steps=1,
            max_completion_length=MAX_LENGTH,
            off_policy_mask_threshold=None,
            top_entropy_quantile=1.0,
            use_vllm=False,
            _entropy_bonus_enabled=False,
            _metrics={"train": defaultdict(list)},
            **fields,
        )
        self._get_per_token_logps_and_entropies = lambda *_, **__: (
            logp,
            torch.zeros_like(logp),
            None,
        )


def log_ratios(rng, mask, low, high, of_answers):
    """Log-ratios within, beyond, and just at both sides of both clips' edges."""
    near = np.log([1 - low - 1e-3, 1 - low + 1e-3, 1 + high - 1e-3, 1 + high + 1e-3])
    if not of_answers:
        ratios = rng.normal(0, 0.5, mask.shape)
        edges = rng.random(mask.shape) < 0.3
        return np.where(edges, rng.choice(near, mask.shape), ratios)
    ratios = rng.normal(0, 0.2, mask.shape)
    lengths = np.maximum(mask.sum(-1, keepdims=True), 1)
    wanted = rng.choice(near, (len(mask), 1)) if rng.random() < 0.5 else 0.0
    off = (ratios * mask).sum(-1, keepdims=True) / lengths
    return ratios - off + wanted if np.ndim(wanted) else ratios


def policy_case(rng, aggregation):
    of_answers = aggregation in ("gspo", "rloo")
    low, high = rng.choice([0.1, 0.2, 0.28], 2)
    delta = 0.0 if aggregation == "rloo" else rng.choice([0.0, 1.5, 2.0])
    kls = {"rloo": ["none"], "gspo": ["none", "forward"]}
    kl = rng.choice(kls.get(aggregation, ["none", "forward", "reverse"]))
    mask = ragged(rng, first=int(rng.integers(0, 3)))
    logp = logprobs(rng)
    old = logp - log_ratios(rng, mask, low, high, of_answers)
    if aggregation == "rloo":  # of sums: each answer's again near the edges
        lengths = np.maximum(mask.sum(-1, keepdims=True), 1)
        old = logp - (logp - old) / lengths
    reference = logp + np.clip(rng.normal(0, 2, (B, T)), -8, 8)
    if kl == "forward" and rng.random() < 0.5:
        # not of "reverse": TRL's gradient of w k3 there is a difference of numbers of
        # 1e25, so that not even float64 has it
        reference = logprobs(rng)
    advantages = rng.normal(0, 1, B).astype(np.float32)
    if aggregation == "rloo":  # TRL gives an empty answer a constant loss of -A
        advantages *= mask.sum(-1) > 0
    tensors = {
        "logp": logp,
        "old": old.astype(np.float32),
        "reference": reference.astype(np.float32),
        "advantages": advantages,
        "mask": mask,
        "clip_low": low,
        "clip_high": high,
        "delta": delta,
        "max_length": MAX_LENGTH,
        "kl": kl,
        "coefficient": 0.0 if kl == "none" else 0.1,
    }
    return tensors | policy_golden(aggregation, tensors)


def policy_golden(aggregation, case):
    """TRL's loss, its gradient for `logp`, and its shares of clipped ratios."""
    leaf = double(case["logp"]).requires_grad_()
    mask, old = double(case["mask"]), double(case["old"])
    stub = Stub(
        leaf,
        epsilon_low=float(case["clip_low"]),
        epsilon_high=float(case["clip_high"]),
        beta=float(case["coefficient"]),
        loss_type="grpo" if aggregation == "gspo" else aggregation,
        importance_sampling_level="sequence" if aggregation == "gspo" else "token",
        args=SimpleNamespace(
            delta=float(case["delta"]) or None,
            use_bias_correction_kl=case["kl"] == "reverse",
        ),
    )
    tokens = torch.zeros(mask.shape, dtype=torch.long)
    inputs = {
        "prompt_ids": tokens[:, :0],
        "prompt_mask": tokens[:, :0],
        "completion_ids": tokens,
        "completion_mask": mask,
        "advantages": double(case["advantages"]),
        "old_per_token_logps": old,
        "old_logps": (old * mask).sum(-1),
        "ref_per_token_logps": double(case["reference"]),
        "num_items_in_batch": mask.sum(),
    }
    trainer = RLOOTrainer if aggregation == "rloo" else GRPOTrainer
    loss = trainer._compute_loss(stub, None, inputs)
    loss.backward()
    metrics = stub._metrics["train"]
    return {
        "loss": loss.item(),
        "gradient": leaf.grad.numpy(),
        "low": metrics["clip_ratio/low_mean"][0],
        "high": metrics["clip_ratio/high_mean"][0],
    }


# ---- PPO ----

PPO_LOSS = lines_of(
    ppo_trainer.PPOTrainer.train,
    "vpredclipped = torch.clamp(",
    "loss = pg_loss + args.vf_coef * vf_loss",
)
PPO_ADVANTAGES = lines_of(
    ppo_trainer.PPOTrainer.train, "lastgaelam = 0", "returns = advantages + values"
)


def ppo_case(rng):
    clip, value_clip = rng.choice([0.1, 0.2]), rng.choice([0.1, 0.2, 0.5])
    mask = ragged(rng)
    lengths = mask.sum(-1, keepdims=True)
    value_mask = (np.arange(T)[None] <= lengths).astype(np.float32)
    logp = logprobs(rng)
    old_values = rng.normal(0, 1, (B, T)).astype(np.float32)
    tensors = {
        "logp": logp,
        "old": (logp - log_ratios(rng, mask, clip, clip, False)).astype(np.float32),
        "advantages": rng.normal(0, 1, (B, T)).astype(np.float32),
        "mask": mask,
        "values": (old_values + rng.normal(0, 0.3, (B, T))).astype(np.float32),
        "old_values": old_values,
        "returns": rng.normal(0, 1, (B, T)).astype(np.float32),
        "value_mask": value_mask if rng.random() < 0.5 else mask,
        "clip": clip,
        "value_clip": value_clip,
        "value_coefficient": 0.1,
    }
    logp, values = (double(tensors[k]).requires_grad_() for k in ("logp", "values"))
    names = {
        "torch": torch,
        "masked_mean": ppo_trainer.masked_mean,
        "args": SimpleNamespace(
            cliprange=clip, cliprange_value=value_clip, vf_coef=0.1
        ),
        "vpred": values,
        "mb_values": double(tensors["old_values"]),
        "mb_return": double(tensors["returns"]),
        "mb_advantage": double(tensors["advantages"]),
        "mb_logprobs": double(tensors["old"]),
        "new_logprobs": logp,
        "padding_mask": double(tensors["mask"]) == 0,
        "padding_mask_p1": double(tensors["value_mask"]) == 0,
        "micro_batch_inds": slice(None),
    }
    exec(PPO_LOSS, names)
    names["loss"].backward()
    return tensors | {
        "loss": names["loss"].item(),
        "policy_loss": names["pg_loss"].item(),
        "value_loss": names["vf_loss"].item(),
        "gradient": logp.grad.numpy(),
        "value_gradient": values.grad.numpy(),
    }


# ---- advantages ----

GROUPS = lines_of(
    GRPOTrainer._generate_and_score_completions,
    "mean_grouped_rewards = torch.nanmean(rewards.view(-1, num_generations), dim=1)",
    "advantages = advantages / (std_rewards + 1e-4)",
)
LEAVE_ONE_OUT = lines_of(
    RLOOTrainer._generate_and_score_completions,
    "grouped_rewards = rewards.view(-1, num_generations)",
    "advantages = rewards - baselines",
)


def gae_case(rng):
    mask = ragged(rng)
    tensors = {
        "rewards": (rng.normal(0, 1, (B, T)) * mask).astype(np.float32),
        "values": (rng.normal(0, 1, (B, T)) * mask).astype(np.float32),
        "mask": mask,
        "gamma": rng.choice([1.0, 0.97]),
        "lam": rng.choice([0.0, 0.9, 0.95, 1.0]),
    }
    names = {
        "torch": torch,
        "args": SimpleNamespace(gamma=tensors["gamma"], lam=tensors["lam"]),
        "responses": torch.zeros(B, T),
        "rewards": double(tensors["rewards"]),
        "values": double(tensors["values"]),
    }
    exec(PPO_ADVANTAGES, names)
    held = double(mask)
    whitened = ppo_trainer.masked_whiten(names["advantages"], held)
    return tensors | {
        "advantages": (names["advantages"] * held).numpy(),
        "returns": (names["returns"] * held).numpy(),
        "whitened": (whitened * held).numpy(),
    }


def whiten_case(rng):
    mask = ragged(rng)
    x = (rng.normal(0, 1, (B, T)) * rng.choice([0.1, 30.0]) + 2).astype(np.float32)
    held = double(mask)
    return {"x": x, "mask": mask} | {
        name: (ppo_trainer.masked_whiten(double(x), held, shift) * held).numpy()
        for name, shift in (("shifted", True), ("unshifted", False))
    }


def group_case(rng):
    samples = int(rng.choice([2, 4, 8]))
    scale = str(rng.choice(["group", "batch", "none"]))
    rewards = rng.normal(0, 1, 16).astype(np.float32)
    rewards[:samples] = rewards[0]  # a group without variance
    names = {
        "torch": torch,
        "nanstd": utils.nanstd,
        "num_generations": samples,
        "self": SimpleNamespace(scale_rewards=scale),
        "rewards": double(rewards),
    }
    exec(GROUPS, names)
    others = names | {}
    exec(LEAVE_ONE_OUT, others)
    return {
        "rewards": rewards,
        "samples": samples,
        "scale": scale,
        "advantages": names["advantages"].numpy(),
        "leave_one_out": others["advantages"].numpy(),
    }


def cases(make, seed):
    return [make(np.random.default_rng((seed, i))) for i in range(CASES)]


if __name__ == "__main__":
    policies = {
        name: cases(lambda rng, name=name: policy_case(rng, name), 10 + i)
        for i, name in enumerate(AGGREGATIONS)
    }
    save("policy", policies | {"ppo": cases(ppo_case, 1)})
    save(
        "advantages",
        {
            "gae": cases(gae_case, 2),
            "whiten": cases(whiten_case, 3),
            "groups": cases(group_case, 4),
        },
    )
