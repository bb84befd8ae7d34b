"""The reward of the story: true equations, and no way around them."""

import pytest

from benchmarks import story_rewards
from trainers.rewards import Sample


@pytest.mark.parametrize(
    "text, right",
    [
        ("48/2=24", True),
        ("100-50-30-15=5", True),
        ("2+3*4=14", True),
        ("(2+3)*-4=-20", True),
        ("50%*20=10", True),
        ("10/3=3.33", True),  # a rounded result
        ("10/3=3.4", False),
        ("1/3=0.3334", False),
        ("48/2=25", False),
        ("5/0=5", False),
        ("2**3=8", False),
        ("__import__('os')=1", False),
        ("2+=2", False),
        ("=", False),
        ("24", False),
        ("(" * 70 + "1=1", False),
    ],
)
def test_an_annotation_is_a_true_equation(text, right):
    assert story_rewards.right(text) is right


@pytest.mark.parametrize(
    "answer, annotations, ending, trivial",
    [
        ("<<2+2=4>>4\n<<4*3=13>>13\n#### 13", 0.5, 1.0, 0.0),
        ("<<2+2=4>>4\n#### 4", 1.0, 1.0, 0.0),
        ("<<2+2=4>>4\n#### four", 1.0, 0.0, 0.0),
        ("<<2+2=4>>4\n#### 4\nand more", 1.0, 0.0, 0.0),
        ("No annotation.\n#### 4", 0.0, 1.0, 0.0),
        ("<<4=4>>\n<<4*1=4>>\n<<2+2=4>>\n<<2+2=4>>\n#### 4", 1.0, 1.0, 0.75),
    ],
)
def test_the_rewards_of_an_answer(answer, annotations, ending, trivial):
    sample = Sample("", answer, [1], True, {}, 0)
    assert story_rewards.annotations(sample) == annotations
    assert story_rewards.ending(sample) == ending
    assert story_rewards.trivial(sample) == trivial
