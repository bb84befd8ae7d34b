"""Preferences whose optimum can be computed, and the real loop that learns them.

Answers have Bradley-Terry strengths w, so p_ij = w_i / (w_i + w_j) and the reward is
r = log w. The data hold each ordered pair as often as its probability asks. So the
optimum of the data is that of the population. The policy is a table, trained with all
pairs in each batch.
"""

import itertools
import json
import math

import numpy as np
import tabular_lm as tables

from trainers import loop
from trainers.run import Data, Optimizer, Run
from zoo import directory
from zoo.models import headed

STRENGTHS = np.array([1, 2, 3, 4, 6, 8])
ANSWERS = ("a", "b b", "c", "d d", "e", "f f")  # of one and two tokens, and the end
COUNT = len(ANSWERS)
MODEL = tables.Config(vocab_size=8, context=4, spread=0.7, seed=3)
BETA = 0.5


def counts_of(strengths, flips=0):
    """How often answer i is chosen over j, where `flips` of 4 labels are wrong."""
    pairs = itertools.permutations(range(len(strengths)), 2)
    return {
        (i, j): int((4 - flips) * strengths[i] + flips * strengths[j])
        // math.gcd(4, 4 - flips)
        for i, j in pairs
    }


def trained(objective, counts, folder, model=MODEL, steps=250, lr=0.1, **columns):
    """The result of a run on pairs, and its kept model."""
    rows = [
        {"prompt": "p", "chosen": ANSWERS[i], "rejected": ANSWERS[j], **columns}
        for (i, j), count in counts.items()
        for _ in range(count)
    ]
    return trained_on(rows, objective, folder, model, steps, lr)


def trained_on(rows, objective, folder, model, steps=250, lr=0.1):
    """The result of a run on rows of preferences, and its kept model."""
    folder.mkdir(exist_ok=True)
    source = folder / "rows.jsonl"
    source.write_text("\n".join(map(json.dumps, rows)))
    tables.word_tokenizer(["p", *"abcdef"]).save(str(folder / "tokenizer"))
    run = Run(
        model=model,
        objective=objective,
        data=Data(
            source=f"jsonl:{source}",
            valid=f"jsonl:{source}",
            tokenizer=str(folder / "tokenizer"),
            format="preference",
            batch=len(rows),
        ),
        optimizer=Optimizer(name="adam", lr=lr, beta_2=0.99, final=0.0),
        clip_norm=0.0,
        steps=steps,
        eval_every=steps,
        log_every=steps,
    )
    result = loop.train(run, folder / "w")
    return result, directory.load(folder / "w/model").model


def logprobs(model, count=COUNT):
    """The log-probability of each answer and its end."""
    tokenizer = tables.word_tokenizer(["p", *"abcdef"])
    table = model.table.numpy().astype(np.float64)
    table -= np.log(np.sum(np.exp(table), 1, keepdims=True))
    found = []
    for answer in ANSWERS[:count]:
        tokens = [*tokenizer.encode("p"), *tokenizer.encode(answer), 0]
        places = range(1, len(tokens))
        found.append(sum(table[model.node_of(tokens[:i]), tokens[i]] for i in places))
    return np.array(found)


def reference(count=COUNT):
    return logprobs(tables.TabularLM(MODEL), count)


def lengths(count=COUNT):
    return np.array([len(answer.split()) + 1 for answer in ANSWERS[:count]])


def distance(logits, wanted):
    """The total variation between two distributions over the answers."""
    both = [np.exp(x - np.logaddexp.reduce(x)) for x in (logits, wanted)]
    return np.abs(both[0] - both[1]).sum() / 2


def gibbs(beta=BETA):
    return reference() + np.log(STRENGTHS) / beta


def least_squares(counts, target):
    """Scores h, of mean 0, with the least sum of count (h_i - h_j - target)^2."""
    rows = [(i, j, n) for (i, j), n in counts.items()]
    matrix = np.zeros((len(rows), len(STRENGTHS)))
    for row, (i, j, n) in enumerate(rows):
        matrix[row, i], matrix[row, j] = math.sqrt(n), -math.sqrt(n)
    wanted = np.array([math.sqrt(n) * target for _, _, n in rows])
    return np.linalg.lstsq(matrix, wanted, rcond=None)[0]


def entropy(counts):
    """The smallest mean loss: the mean entropy of which answer is chosen."""
    total = sum(counts.values())
    return sum(
        n / total * -math.log(n / (n + counts[j, i])) for (i, j), n in counts.items()
    )


def with_margin(p, margin):
    """The gap d with the least p softplus(m - d) + (1 - p) softplus(m + d)."""
    big = math.exp(margin)
    a, b, c = 1 - p, (1 - 2 * p) * big, -p
    return math.log((-b + math.sqrt(b * b - 4 * a * c)) / (2 * a))


def reward_model():
    return headed.Config(body=MODEL, task="regress", classes=0)


def rewards(model, count=COUNT):
    """The rewards of the answers, without their end."""
    tokenizer = tables.word_tokenizer(["p", *"abcdef"])
    texts = [tokenizer.encode(f"p {answer}") for answer in ANSWERS[:count]]
    return np.array([float(model(np.array([ids]))[0]) for ids in texts])
