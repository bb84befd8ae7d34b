"""GRPO and PPO: what must hold for any model and any answers.

The details of PPO from human feedback, as published, and where each is tested:

     1  heads on query and answer, a value   test_the_critic_copies_the_body (runs);
        a token; a reward of the last token  test_pooling (test_headed)
     2  padding of prompts                   right-padded instead: the Decoder reads
                                             each row to its length (test_decoders)
     3  fixed lengths of 64 and 24           no: lengths are those of the data, and
                                             objective.max_new_tokens
     4  sampling behind the end, cut later   no: the loop stops at the end token, so no
                                             token behind it is sampled or learnt
     5  no end: a fixed low reward           objective.missing_end is added:
                                             test_what_is_logged (test_rollouts)
     6  one temperature everywhere           test_the_gradient_is_that_of_what_was_
                                             sampled
     7  recipe of the reward model           no: configs/reward.py has its own; the best
                                             of several: test_preference_optimum
     8  rewards of mean 0 and deviation 1    over answers of the data, as nothing has
                                             been sampled then: test_a_reward_model_
                                             finds_the_rewards (test_preference_optimum)
     9  critic starts at zero                test_the_first_update
    10  reward at the last token, -beta k1   test_the_reward_is_paid_at_the_last_token,
        at each                              test_what_tokens_are_paid
    11  adaptive coefficient                 test_what_is_logged (test_rollouts), and
                                             test_the_coefficient_settles (test_known_
                                             optima)
    12  whitening                            test_what_tokens_are_paid; of a whole
                                             rollout, as TRL does
    13  gamma 1, lam 0.95                    test_published_defaults
    14  epochs, a new order in each          test_every_prompt_is_asked_once_in_a_pass
                                             (test_rollouts); 512 answers a batch and
                                             the linear decay are choices of a config
    15  clips of 0.2, value weight 0.1       test_published_defaults; the gradient's
                                             norm is clipped too (config.clip_norm)
    16  Adam's epsilon outside of the bias   test_adam_has_its_epsilon_where_tensorflow_
        correction                           puts_it, and configs/ppo.py
    17  no dropout                           test_dropout_is_refused (runs)
    18  first ratio 1, KL 0                  test_the_first_update; test_ppo (runs)
    19  padding is no end token              weights, not ids, say what is an answer:
                                             test_padding_changes_nothing
    20  other seeds for each rank            rollouts are drawn on one device, from a
                                             seed for each row: test_every_prompt_is_
                                             asked_once_in_a_pass (test_rollouts)
    21  advantages from the old values       test_a_shift_of_all_rewards_and_values
    22  float32 logits                       test_bfloat16_features_give_float32_results
                                             (test_token_logprobs)
    23  explained variance logged            test_the_first_update
"""

import importlib

import keras
import numpy as np
import pytest
import tensorflow as tf
from exact_gradients import sampled_gradient, sampled_wanted
from known_optima import as_batch, score

from trainers import optimizers
from trainers import roles as roles_lib
from trainers.objectives import GRPO, PPO, grpo
from trainers.objectives.features import features
from trainers.objectives.ppo import last_tokens
from trainers.objectives.sampled import sampled_logprobs
from trainers.run import Data, Optimizer, Run
from zoo.models import recurrent_lm, transformer_lm

LM = transformer_lm.Config(vocab_size=20, context=16, width=16, layers=1, heads=2)
LSTM = recurrent_lm.Config(vocab_size=20, context=16, width=8, units=8, layers=1)
N = 8


def made(objective, config=LM):
    """The roles, moved away from their small initial weights."""
    run = Run(model=config, objective=objective, data=Data(batch=N), steps=1)
    roles = roles_lib.make(run, roles_lib.Start(config))
    for i, weight in enumerate(roles["policy"].trainable_weights):
        noise = tf.random.stateless_normal(weight.shape, [i, 7], stddev=0.3)
        weight.assign(tf.convert_to_tensor(weight.value) + noise)
    if "reference" in roles:
        roles["reference"].set_weights(roles["policy"].get_weights())
    return roles


def answers(seed=0, longest=5):
    rng = np.random.default_rng(seed)
    tokens = tf.constant(rng.integers(1, 20, (N, longest)), tf.int32)
    return as_batch(tokens, tf.constant(rng.integers(1, longest + 1, N), tf.int32))


def learnt_batch(objective, roles, rewards, **changes):
    """A Batch as a rollout makes it."""
    batch = answers()
    batch |= score(objective, roles, batch) | changes
    ended = tf.constant([True, False] * (N // 2))
    rollout = {**batch, "rewards": tf.constant(rewards, tf.float32), "ended": ended}
    return batch | objective.advantages(rollout)


def gradients(objective, roles, batch):
    variables = [v.value for v in roles["policy"].trainable_variables]
    if "critic" in roles:
        variables += [v.value for v in roles["critic"].trainable_variables]
    with tf.GradientTape() as tape:
        loss = objective.loss(roles, batch, True)
    found = tape.gradient(loss.sum, variables)
    # those of embeddings are sparse
    dense = [tf.convert_to_tensor(g) for g in found if g is not None]
    return np.concatenate([np.ravel(g) for g in dense])


REWARDS = np.random.default_rng(1).normal(size=N)
BOTH = [
    GRPO(samples=4, kl_coefficient=0.1),
    GRPO(samples=4, kl_coefficient=0.1, kl="forward", temperature=0.7),
    GRPO(samples=4, aggregation="gspo", top_k=5, top_p=0.9),
    PPO(temperature=0.7),
    PPO(shared_body=True, top_k=5),
]


@pytest.mark.parametrize("objective", BOTH, ids=lambda o: o.name)
@pytest.mark.parametrize("config", [LM, LSTM], ids=["transformer", "lstm"])
def test_the_first_update(objective, config):
    """The ratio is exactly 1, nothing is clipped, the divergence and values are 0."""
    roles = made(objective, config)
    batch = learnt_batch(objective, roles, REWARDS)
    metrics = objective.loss(roles, batch, True).metrics
    means = {k: float(total) / float(weight) for k, (total, weight) in metrics.items()}
    assert means["ratio"] == 1
    for name in ("approx_kl", "clip_low", "clip_high"):
        assert means[name] == 0
    assert means.get("kl_loss", 0) == 0
    assert 0 < means["entropy"] <= np.log(20)
    if "reference" in roles:
        own = batch["own_logprobs"].numpy()
        np.testing.assert_array_equal(own, batch["reference_logprobs"])
    if "critic" in roles:
        assert not batch["old_values"].numpy().any()
        assert not np.isnan(means["explained_variance"]) and means["value_loss"] > 0


@pytest.mark.parametrize(
    "fields",
    [{}, {"scale": "none"}, {"scale": "batch"}, {"aggregation": "rloo"}],
    ids=str,
)
def test_equal_rewards_teach_grpo_nothing(fields):
    objective = GRPO(samples=4, **fields)
    roles = made(objective)
    batch = learnt_batch(objective, roles, [0.1] * 4 + [0.7] * 4)
    assert not gradients(objective, roles, batch).any()
    batch = learnt_batch(objective, roles, REWARDS)
    assert gradients(objective, roles, batch).any()


def test_equal_rewards_teach_ppo_nothing_where_the_critic_is_right():
    objective = PPO(kl_coefficient=0.0)
    roles = made(objective)
    roles["critic"].value.bias.assign([0.5])
    batch = learnt_batch(objective, roles, [0.5] * N)
    assert not gradients(objective, roles, batch).any()
    roles["critic"].value.bias.assign([0.25])  # old and new values are now wrong
    batch = learnt_batch(objective, roles, [0.5] * N)
    assert gradients(objective, roles, batch).any()


def test_the_baseline_of_rloo_is_the_mean_of_the_others():
    objective = GRPO(samples=4, aggregation="rloo")
    batch = learnt_batch(objective, made(objective), REWARDS)
    of_groups_GS = REWARDS.reshape(-1, 4)
    others_GS = (of_groups_GS.sum(1, keepdims=True) - of_groups_GS) / 3
    wanted_N = (of_groups_GS - others_GS).ravel()
    found_N = tf.reduce_sum(batch["advantages"], -1) / tf.reduce_sum(
        batch["weights"], -1
    )
    np.testing.assert_allclose(found_N, wanted_N, atol=1e-6)


@pytest.mark.parametrize("scale", ["group", "batch", "none"])
def test_a_shift_of_all_rewards_changes_nothing_in_grpo(scale):
    objective = GRPO(samples=4, scale=scale, kl_coefficient=0.1)
    roles = made(objective)
    one, two = (learnt_batch(objective, roles, REWARDS + c) for c in (0, 3))
    np.testing.assert_allclose(one["advantages"], two["advantages"], atol=1e-5)
    means = tf.reduce_mean(tf.reshape(two["advantages"][:, 0], (-1, 4)), -1)
    np.testing.assert_allclose(means, 0, atol=1e-6)


def test_a_shift_of_all_rewards_and_values_changes_nothing_in_ppo():
    """A critic that knows of the shift takes it out; so does lam 1 with whitening."""
    objective = PPO(whiten_advantages=False)
    roles = made(objective)
    one = learnt_batch(objective, roles, REWARDS)
    mask = one["weights"]
    two = learnt_batch(objective, roles, REWARDS + 3, old_values=3 * mask)
    np.testing.assert_allclose(one["advantages"], two["advantages"], atol=1e-5)
    np.testing.assert_allclose(one["returns"] + 3 * mask, two["returns"], atol=1e-5)
    objective = PPO(lam=1.0)
    one, two = (learnt_batch(objective, roles, REWARDS + c) for c in (0, 3))
    np.testing.assert_allclose(one["advantages"], two["advantages"], atol=1e-5)


def test_the_reward_is_paid_at_the_last_token():
    mask = np.array([[0, 1, 1, 0], [1, 1, 1, 1], [0, 0, 0, 0], [0, 1, 0, 1]])
    wanted = [[0, 0, 1, 0], [0, 0, 0, 1], [0, 0, 0, 0], [0, 0, 0, 1]]
    found = last_tokens(tf.constant(mask, tf.float32))
    np.testing.assert_array_equal(found, wanted)
    objective = PPO(kl_coefficient=0.0, lam=0.0, whiten_advantages=False)
    rollout = {
        "weights": tf.constant(mask, tf.float32),
        "rewards": tf.constant([1.0, 2.0, 3.0, 4.0]),
        "old_values": tf.zeros((4, 4)),
    }
    found = objective.advantages(rollout)["advantages"]
    np.testing.assert_array_equal(found, np.array(wanted) * [[1], [2], [3], [4]])


def test_what_tokens_are_paid():
    """By hand: -coefficient * (own - reference) of each token; then whitening."""
    mask = tf.constant([[1.0, 1.0, 0.0]])
    rollout = {
        "weights": mask,
        "rewards": tf.constant([1.0]),
        "own_logprobs": tf.constant([[-1.0, -2.0, 0.0]]),
        "reference_logprobs": tf.constant([[-1.5, -1.0, -9.0]]),
        "old_values": tf.zeros((1, 3)),
        "kl_coefficient": tf.constant(0.2),  # not that of the objective
    }
    fields = {"lam": 1.0, "whiten_advantages": False}
    found = PPO(**fields).advantages(rollout)["returns"]
    np.testing.assert_allclose(found, [[-0.1 + 1.2, 1.2, 0]], atol=1e-6)
    found = PPO(**fields, whiten_rewards=True).advantages(rollout)["returns"]
    deviation = np.std([-0.1, 1.2], ddof=1)
    mean = 0.55
    last = (1.2 - mean) / deviation + mean
    first = (-0.1 - mean) / deviation + mean
    np.testing.assert_allclose(found, [[first + last, last, 0]], atol=1e-5)


def test_truncated_answers_and_groups_without_variance_are_left_out():
    rewards = [1.0] * 4 + [0.0, 1.0, 0.0, 1.0]
    objective = GRPO(samples=4, mask_truncated=True)
    roles = made(objective)
    weights = learnt_batch(objective, roles, rewards)["weights"].numpy()
    assert (weights.any(-1) == [True, False] * 4).all()
    for aggregation in ("dapo", "grpo", "dr_grpo", "rloo", "gspo"):
        fields = {"samples": 4, "aggregation": aggregation}
        plain, dynamic = GRPO(**fields), GRPO(**fields, dynamic_sampling=True)
        batch = learnt_batch(dynamic, roles, rewards)
        assert (batch["weights"].numpy().any(-1) == [False] * 4 + [True] * 4).all()
        whole = learnt_batch(plain, roles, rewards)
        half = {k: x[4:] for k, x in whole.items()}
        mine, wanted = dynamic.loss(roles, batch, True), plain.loss(roles, half, True)
        np.testing.assert_allclose(mine.weight, wanted.weight, rtol=1e-6)
        np.testing.assert_allclose(mine.sum, wanted.sum, atol=1e-5)


def test_padding_changes_nothing():
    """Neither its tokens nor its numbers; a padded place may even be NaN."""
    for objective in (GRPO(samples=4, kl_coefficient=0.1, kl="forward"), PPO()):
        roles = made(objective)
        batch = learnt_batch(objective, roles, REWARDS)
        mask = batch["weights"] > 0
        other = dict(batch)
        for name in ("old_logprobs", "advantages", "returns", "old_values"):
            if name in batch:
                other[name] = tf.where(mask, batch[name], np.nan)
        other["targets"] = tf.where(mask, batch["targets"], 7)
        one, two = (gradients(objective, roles, b) for b in (batch, other))
        np.testing.assert_allclose(one, two, atol=1e-6)


@pytest.mark.parametrize(
    "objective",
    [
        GRPO(samples=4, kl_coefficient=0.1, kl="forward"),
        GRPO(samples=4, aggregation="gspo", temperature=0.7),
        PPO(),
    ],
    ids=["grpo", "gspo", "ppo"],
)
def test_a_row_learns_beside_longer_ones_what_it_learns_alone(objective):
    """Prompts and answers of other lengths, with padding behind them."""
    roles, rng = made(objective), np.random.default_rng(0)
    prompts, counts = np.array([3, 7, 1, 2]), np.array([4, 1, 6, 2])
    place, lengths = np.arange(10), prompts + counts - 1
    mask = (place >= prompts[:, None] - 1) & (place < lengths[:, None])

    def noise(scale):
        return (rng.normal(0, scale, mask.shape) * mask).astype(np.float32)

    own = noise(0.1) - 3 * mask.astype(np.float32)  # near log 1/20
    numbers = {
        "old_logprobs": own,
        "reference_logprobs": own + noise(0.3),
        "advantages": noise(1),
        "returns": noise(1),
        "old_values": noise(0.1),
    }
    ids = rng.integers(1, 20, (4, 11)).astype(np.int32)
    batch = numbers | {"tokens": ids[:, :-1], "targets": ids[:, 1:]}
    batch |= {"weights": mask.astype(np.float32), "lengths": lengths.astype(np.int32)}
    for row in (2, 3):
        size = lengths[row]
        others = np.arange(4)[:, None] != row
        beside = batch | {"weights": np.where(others, 0, mask).astype(np.float32)}
        alone = {
            name: x[row : row + 1, :size] if x.ndim > 1 else x[row : row + 1]
            for name, x in batch.items()
        }
        beside, alone = (
            {name: tf.constant(x) for name, x in b.items()} for b in (beside, alone)
        )
        mine, wanted = (objective.loss(roles, b, True) for b in (beside, alone))
        assert abs(float(wanted.sum)) > 1e-3
        np.testing.assert_allclose(mine.sum, wanted.sum, rtol=1e-5, atol=1e-6)
        one, two = (gradients(objective, roles, b) for b in (beside, alone))
        assert np.abs(two).max() > 1e-3
        np.testing.assert_allclose(one, two, rtol=1e-4, atol=1e-5)


def test_published_defaults():
    o = PPO()
    assert (o.gamma, o.lam, o.clip, o.clip_value) == (1, 0.95, 0.2, 0.2)
    assert (o.value_weight, o.kl_coefficient, o.epochs) == (0.1, 0.05, 4)
    assert importlib.import_module("configs.ppo").get_config().optimizer.epsilon == 1e-5


def test_adam_has_its_epsilon_where_tensorflow_puts_it():
    """lr sqrt(1 - b2^t) / (1 - b1^t) * m / (sqrt(v) + epsilon), at t = 1."""
    variable = keras.Variable([1.0])
    options = Optimizer(
        name="adam", lr=0.1, decay="constant", beta_2=0.999, epsilon=1e-5
    )
    gradient = 1e-4
    optimizers.build(options, 1, [variable]).apply([tf.constant([gradient])])
    root = np.sqrt(0.001)
    wanted = 0.1 * root * gradient / (root * gradient + 1e-5)
    np.testing.assert_allclose(1 - variable.numpy(), wanted, rtol=1e-4)
    assert abs(0.1 * gradient / (gradient + 1e-5) - wanted) > 0.01  # PyTorch's place


# ---- the distribution that was sampled ----


@pytest.mark.parametrize("temperature, top_k", [(1.0, 0), (0.6, 0), (1.7, 3)])
def test_the_gradient_is_that_of_what_was_sampled(temperature, top_k, monkeypatch):
    rng = np.random.default_rng(0)
    logits, rewards = rng.normal(size=8), rng.normal(size=8)
    objective = GRPO(temperature=temperature, top_k=top_k)
    q, wanted = sampled_wanted(logits, rewards, temperature, top_k)
    found = sampled_gradient(logits, rewards, q, objective)
    np.testing.assert_allclose(found, wanted, atol=1e-6)
    if temperature != 1:  # the mistake: log-probabilities at temperature 1

        def unsampled(model, x_ND, targets_BT, options):
            return grpo.of_features(model, x_ND, targets_BT)

        monkeypatch.setattr(grpo, "sampled_logprobs", unsampled)
        found = sampled_gradient(logits, rewards, q, objective)
        assert np.abs(found - wanted).max() > 0.01


def test_top_p_of_everything_is_no_filter():
    roles = made(GRPO())
    batch = answers()
    x_ND = features(roles["policy"], batch, True)
    plain, filtered = (
        sampled_logprobs(roles["policy"], x_ND, batch["targets"], GRPO(top_k=k))[0]
        for k in (0, 20)
    )
    np.testing.assert_allclose(plain, filtered, atol=1e-5)


# ---- refusals ----


@pytest.mark.parametrize(
    "cls, fields, words",
    [
        (GRPO, {"samples": 1}, "objective.samples: 1, 2 or more allowed"),
        (GRPO, {"kl": "k1", "kl_place": "loss"}, "mean of its gradient is 0"),
        (GRPO, {"kl": "k3", "kl_place": "reward"}, "that of no divergence"),
        (GRPO, {"kl": "forward", "kl_place": "reward"}, "objective.kl: 'forward'"),
        (GRPO, {"kl": "none", "kl_coefficient": 0.1}, "kl_coefficient: 0.1"),
        (GRPO, {"kl_place": "both"}, "objective.kl_place: 'both'"),
        (GRPO, {"aggregation": "mean"}, "objective.aggregation: 'mean'"),
        (GRPO, {"scale": "std"}, "objective.scale: 'std'"),
        (GRPO, {"delta": 1.1}, "objective.delta: 1.1, 0 or above"),
        (GRPO, {"max_rounds": 0}, "objective.max_rounds: 0"),
        (PPO, {"gamma": 1.5}, "objective.gamma: 1.5"),
        (PPO, {"clip": 1.0}, "objective.clip: 1.0"),
        (PPO, {"kl_target": 1.0, "kl_coefficient": 0.0}, "kl_coefficient: 0, but"),
        (PPO, {"kl_horizon": 0.0}, "objective.kl_horizon: 0.0"),
        (PPO, {"temperature": 0.0}, "objective.temperature"),
    ],
)
def test_refused(cls, fields, words):
    with pytest.raises(ValueError, match=words):
        cls(**fields)
