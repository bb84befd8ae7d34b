"""The feed of objectives whose examples are answers that the model samples.

The data are prompts. A rollout samples answers, scores them, and is then learnt in
`objective.period` steps. With several replicas, all answers are sampled on the first
device, and the Batches are split. Evaluation gives the rewards of greedy answers to the
held-out prompts; the mean of a reward that is 0 or 1 is the rate of success.
"""

import numpy as np

from trainers import evaluation, rewards
from trainers.feeds import companions, text
from trainers.feeds.feed import Evaluate, Feed, check_best, check_dropout
from trainers.roles import Start
from trainers.rollouts import prompts as prompts_lib
from trainers.rollouts.rollouts import Rollouts
from trainers.run import Run
from zoo.data import splits
from zoo.fields import one_of

_SHOWN = 3  # answers of the text sample


def make(run: Run, start: Start) -> Feed:
    """Reads the prompts, and holds out some of them for evaluation.

    Raises:
      ValueError: the model is no language model; the data are no
        prompts, or too long; numbers of answers do not fit each other; a reward is
        unknown, or reads a column that the data lack; the model has dropout.
    """
    data, objective, config = run.data, run.objective, start.config
    text.check_model(run, config)
    _check(run)
    check_dropout(
        run, config, "what is learnt is not the distribution that was sampled"
    )
    tokenizer = text.with_end(run, text.tokenizer_of(run, start))
    text.check_vocabulary(tokenizer, config)
    length = text.window(run, config)
    # the last token of an answer is no input
    longest = length + 1 - objective.max_new_tokens
    if longest < 1:
        raise ValueError(
            f"config.objective.max_new_tokens: {objective.max_new_tokens}, at most "
            f"{length} allowed: prompt and answer share config.data.length."
        )
    others = companions.check(run, tokenizer, config, length)
    train, valid = splits.examples(data.source, data.valid, data.hold_out)
    prompts = prompts_lib.read(train, data, tokenizer, longest)
    held_out = prompts_lib.read(valid, data, tokenizer, longest) if valid else []
    asked = (*prompts, *held_out)
    rewards.check_columns(
        objective.rewards,
        [(p.where, p.example) for p in asked],
        objective.reward_errors == "score",
    )
    others |= companions.of_rewards(objective.rewards)
    inputs = max(len(p.tokens) for p in asked) + objective.max_new_tokens - 1
    rollouts = Rollouts(run, tokenizer, prompts, inputs, evaluation.rows_at_once(run))
    names = ("reward", "length", "missing_end", *rollouts.part_names)
    if run.eval_every and held_out:
        try:
            check_best(run, names)
        except BaseException:
            rollouts.close()
            raise
    shown: list[str] = []

    def evaluate_answers(roles):
        shown.clear()
        model, totals = roles[objective.trains[0]], []
        for answers in rollouts.answers_of(model, held_out):
            rewards_N, parts = rollouts.score(answers)
            tokens_N = [len(s.tokens) - s.start for s in answers.samples]
            totals.append([rewards_N, tokens_N, ~answers.ended, *parts.values()])
            for sample, reward in zip(answers.samples, rewards_N, strict=True):
                if len(shown) < _SHOWN:
                    shown.append(f"{sample.prompt}{sample.answer}\n[reward {reward:g}]")
        means = np.concatenate(totals, 1).mean(1)
        return dict(zip(names, means.tolist(), strict=True))

    evaluate: Evaluate | None = evaluate_answers if held_out else None
    return Feed(
        rollouts.batches,
        evaluate,
        len(prompts) * objective.samples * objective.epochs,
        ("answers", data.batch),
        tokenizer,
        lambda roles: None,
        lambda roles: "\n\n".join(shown),
        text.fingerprint_of(data, tokenizer) | others,
        inputs,
        variables=(rollouts.kl_coefficient,),
        period=objective.period,
        metrics=rollouts.metrics,
        close=rollouts.close,
    )


def _check(run):
    """Refuses what does not fit rollouts."""
    data, o = run.data, run.objective
    one_of("config.data.format", data.format, ("prompts",))
    if data.too_long == "cut":
        raise ValueError(
            "config.data.too_long: 'cut', but a prompt without its end asks something "
            "else; drop or error allowed."
        )
    if o.needs.get("reference") == "cached":
        raise ValueError(
            f"config.objective.reference: 'cached', but {o.name} samples new answers, "
            "which no cache has; base, start or a directory allowed."
        )
    rows = data.batch * o.minibatches
    if rows % o.samples:
        raise ValueError(
            f"config.objective.samples: {o.samples}, a divisor of data.batch x "
            f"objective.minibatches = {rows} allowed."
        )
