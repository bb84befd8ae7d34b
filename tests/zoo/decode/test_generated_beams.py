"""`generate` searches with beams, and keeps the rules of a directory."""

import json
import math
import pathlib

import golden_beams
import keras
import numpy as np
import pytest
import tensorflow as tf

from zoo import models
from zoo.decode import generate
from zoo.directory import assemble
from zoo.directory.pretrained import Pretrained
from zoo.generation_config import SEARCH, GenerationConfig

GOLDEN = pathlib.Path(__file__).with_name("golden") / "beams.json"
SEED = 4  # of weights whose answers differ in length
V, ENDS = 12, [3, 4, 11]
PROMPTS = [[5, 9, 4, 7], [8], [10, 6]]
SMALL = {"vocab_size": V, "context": 16, "width": 16, "layers": 1}
MODELS = {
    "lstm_lm": {"units": 16},
    "encoder_decoder": {"encoder_layers": 1, "heads": 2, "start_id": 1},
}


class Ids:
    """A tokenizer whose texts are ids in decimal."""

    prefix, json = [], ""

    def __init__(self, vocab_size, end_ids):
        self.vocab_size, self.end_ids = vocab_size, end_ids

    def decode(self, ids, continuing=False):
        del continuing
        return " ".join(map(str, ids))


def built(name):
    keras.utils.set_random_seed(SEED)
    model = models.build(name, **SMALL, **MODELS[name])
    for i, v in enumerate(model.trainable_weights):
        noise = tf.random.stateless_normal(v.shape, [i, 3], stddev=0.5)
        v.assign(tf.convert_to_tensor(v.value) + noise)
    return model


@pytest.fixture(scope="module", params=MODELS)
def model(request):
    return built(request.param)


def searched(model, prompt, beams, most, penalty):
    """A slow beam search: each beam has its own state, and steps alone."""
    length = len(prompt)
    first = model.start(tf.constant([prompt]), tf.constant([length]), length + most)
    alive, found = [(0.0, [], *first)], []
    for count in range(1, most + 1):
        children = [
            (total + float(logprob), [*ids, token], state)
            for total, ids, logits, state in alive
            for token, logprob in enumerate(tf.nn.log_softmax(logits[0]).numpy())
        ]
        children.sort(key=lambda child: -child[0])
        over = [child[1][-1] in ENDS or count == most for child in children]
        for child, ended in zip(children[:beams], over, strict=False):
            if ended:
                found.append((child[0] / count**penalty, child[1]))
        found = sorted(found, key=lambda answer: -answer[0])[:beams]
        ahead = zip(children[: (1 + len(ENDS)) * beams], over, strict=False)
        best = [child for child, ended in ahead if not ended][:beams]
        full = len(found) == beams
        if not best or full and best[0][0] / count**penalty <= found[-1][0]:
            break
        alive = [
            (total, ids, *model.step(tf.constant([ids[-1]]), state))
            for total, ids, state in best
        ]
    return found


def test_answers_are_those_of_a_slow_search_and_of_a_batch_of_one(model):
    tokenizer, beams, most = Ids(V, ENDS), 3, 6
    config = GenerationConfig(
        max_new_tokens=most, beams=beams, num_return_sequences=beams
    )
    answers = generate(model, tokenizer, PROMPTS, config)
    assert len(answers) == beams * len(PROMPTS)
    for i, prompt in enumerate(PROMPTS):
        mine = answers[beams * i : beams * (i + 1)]
        wanted = searched(model, prompt, beams, most, config.length_penalty)
        assert [answer.tokens for answer in mine] == [ids for _, ids in wanted]
        for answer, (score, ids) in zip(mine, wanted, strict=True):
            assert answer.logprob / len(ids) == pytest.approx(score, abs=1e-4)
            assert answer.finish_reason == ("stop" if ids[-1] in ENDS else "length")
        alone = generate(model, tokenizer, [prompt], config)
        assert [a.tokens for a in alone] == [a.tokens for a in mine]
    assert "stop" in {answer.finish_reason for answer in answers}
    assert len({len(answer.tokens) for answer in answers}) > 1


def test_answers_of_a_transformer_are_those_of_transformers():
    """Three of the golden rows, with the rules of their directory."""
    pretrained = Pretrained(
        "tiny", golden_beams.CONFIG, golden_beams.tensors(), None, GenerationConfig()
    )
    model = assemble.assemble(pretrained).model
    end_ids, fields = golden_beams.DIRECTORIES["rules"]
    rules = GenerationConfig.from_json(fields, "rules")
    wanted = json.loads(GOLDEN.read_text("utf-8"))["rules"]
    rows = list(zip(golden_beams.cases()["rules"], wanted, strict=True))
    # a score near -1e9 is that of a place without an answer
    rows = [row for row in rows if min(row[1]["scores"]) > -1e6][:3]
    own = {knob.name for knob in SEARCH} | {"max_new_tokens", "repetition_penalty"}
    for row, found in rows:
        given = {name: row[name] for name in own}
        config = GenerationConfig(
            forced_bos_token_id=rules.forced_bos_token_id,
            forced_eos_token_id=rules.forced_eos_token_id,
            bad_words_ids=rules.bad_words_ids,
            **given,
        )
        tokenizer = Ids(golden_beams.VOCAB, end_ids)
        answers = generate(model, tokenizer, [row["prompt"]], config)
        assert [a.tokens for a in answers] == found["ids"][: len(answers)]
        assert len(answers) == row["num_return_sequences"]


def test_rules_hold_without_a_search():
    model, tokenizer = built("lstm_lm"), Ids(V, [])
    free = GenerationConfig(max_new_tokens=6)
    (plain,) = generate(model, tokenizer, [[5]], free)
    assert len({5, *plain.tokens}) < 7  # something stands there twice
    bound = GenerationConfig(
        max_new_tokens=6,
        no_repeat_ngram=1,
        bad_words_ids=((plain.tokens[0],),),
        forced_bos_token_id=2,
        forced_eos_token_id=(11,),
    )
    (answer,) = generate(model, tokenizer, [[5]], bound)
    assert answer.tokens[0] == 2 and answer.tokens[-1] == 11
    # the forced last token may stand there twice, the others may not
    assert len({5, *answer.tokens[:-1]}) == 6
    assert plain.tokens[0] not in answer.tokens[1:]


@pytest.mark.long
def test_a_search_may_find_less_than_is_wanted():
    """Only one token is allowed: there is a single answer of one token."""
    config = GenerationConfig(
        max_new_tokens=1,
        beams=2,
        num_return_sequences=2,
        bad_words_ids=tuple((i,) for i in range(V) if i != 7),
    )
    first, none = generate(built("lstm_lm"), Ids(V, []), [[5]], config)
    assert first.tokens == [7]
    assert (none.tokens, none.text, none.logprob) == ([], "", -math.inf)
    assert np.isfinite(first.logprob)
