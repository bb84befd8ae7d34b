"""BLEU, chrF, ROUGE and pass@k, beside published numbers."""

import itertools

import numpy as np
import pytest
import sacrebleu

from zoo.metrics import bootstrap, generation

# the example of sacrebleu's own README, with the numbers printed there
REFERENCES = [
    [
        "The dog bit the man.",
        "It was not unexpected.",
        "The man bit him first.",
    ],
    [
        "The dog had bit the man.",
        "No one was surprised.",
        "The man had bitten the dog.",
    ],
]
ANSWERS = [
    "The dog bit the man.",
    "It wasn't surprising.",
    "The man had just bitten him.",
]
BY_ANSWER = list(zip(*REFERENCES, strict=True))


def test_bleu_of_the_readme():
    found = generation.bleu(ANSWERS, BY_ANSWER)
    assert found.value == pytest.approx(48.530827, abs=1e-5)
    assert found.signature.startswith("nrefs:2|case:mixed|eff:no|tok:13a|smooth:exp|")


def test_chrf_is_that_of_the_corpus():
    for order in (0, 2):
        found = generation.chrf(ANSWERS, BY_ANSWER, order)
        wanted = sacrebleu.corpus_chrf(ANSWERS, REFERENCES, word_order=order)
        assert found.value == pytest.approx(wanted.score)
        assert f"nw:{order}" in found.signature


def test_examples_may_be_drawn():
    bleu = generation.bleu(ANSWERS, BY_ANSWER)
    chrf = generation.chrf(ANSWERS, BY_ANSWER)
    at = [2, 0, 0]
    drawn = [ANSWERS[i] for i in at], [[stream[i] for i in at] for stream in REFERENCES]
    assert bleu.measure(bleu.rows_NS[at]) == sacrebleu.corpus_bleu(*drawn).score
    assert chrf.measure(chrf.rows_NS[at]) == sacrebleu.corpus_chrf(*drawn).score
    low, high = bootstrap.interval(bleu.rows_NS, bleu.measure, resamples=50)
    assert 0 <= low <= bleu.value <= high <= 100 + 1e-9


def test_answers_may_have_other_numbers_of_references():
    references = [["a b c d e"], ["f g h i", "x y z w"]]
    answers = ["a b c d e", "x y z w"]
    found = generation.bleu(answers, references)
    assert found.value == pytest.approx(100) and found.signature.startswith("nrefs:var")
    assert generation.chrf(answers, references).value == pytest.approx(100)
    assert generation.rouge(answers, references)["rougeL"].tolist() == [1, 1]


def test_chinese_is_cut_into_characters():
    answer, wanted = ["我喜欢吃苹果和香蕉。"], [["我喜欢吃苹果和橙子。"]]
    spaces = generation.bleu(answer, wanted)
    found = generation.bleu(answer, wanted, "zh")
    assert "tok:zh" in found.signature and spaces.value < 20 < found.value
    assert generation.rouge(answer, wanted)["rouge1"] == 0
    # 8 of the 10 characters are right
    assert generation.rouge(answer, wanted, "zh")["rouge1"] == pytest.approx(0.8)


def test_japanese_needs_packages():
    try:
        found = generation.bleu(["猫が好きです。"], [["猫が好きです。"]], "ja-mecab")
    except ValueError as error:
        assert "pip install 'sacrebleu[ja]'" in str(error)
    else:
        assert found.value == pytest.approx(100) and "tok:ja-mecab" in found.signature


def test_rouge_of_its_readme():
    found = generation.rouge(
        ["The quick brown dog jumps on the log."],
        [["The quick brown fox jumps over the lazy dog"]],
    )
    # 6 of 8 and of 9 words; 2 of 7 and of 8 pairs; `the quick brown jumps the`
    assert found["rouge1"] == pytest.approx(2 * 6 / 17)
    assert found["rouge2"] == pytest.approx(2 * 2 / 15)
    assert found["rougeL"] == pytest.approx(2 * 5 / 17)


@pytest.mark.parametrize("samples, right, k", [(5, 2, 1), (6, 3, 2), (7, 1, 4)])
def test_pass_at_k_counts_all_choices(samples, right, k):
    chosen = list(itertools.combinations([1] * right + [0] * (samples - right), k))
    wanted = np.mean([any(c) for c in chosen])
    assert generation.pass_at_k(samples, right, k) == pytest.approx(wanted)


def test_pass_at_k_at_its_ends():
    assert generation.pass_at_k(3, 0, 3) == 0
    assert generation.pass_at_k(3, 1, 3) == 1
    assert generation.pass_at_k(200, 200, 1) == 1


@pytest.mark.parametrize(
    "call, words",
    [
        (lambda: generation.bleu([], []), "answers: 0"),
        (lambda: generation.bleu(["a"], []), "references: 0"),
        (lambda: generation.chrf(["a"], ["a"]), "references of answer 0: 'a'"),
        (lambda: generation.rouge(["a"], [[]]), "references of answer 0"),
        (lambda: generation.bleu(["a"], [["a"]], "jp"), "tokenize: 'jp', one of 13a"),
        (lambda: generation.pass_at_k(2, 1, 3), "k: 3, 1 to the 2 samples"),
        (lambda: generation.pass_at_k(2, 3, 1), "right: 3, 0 to the 2 samples"),
    ],
)
def test_what_is_refused(call, words):
    with pytest.raises(ValueError, match=words):
        call()
