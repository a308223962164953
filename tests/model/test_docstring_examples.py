"""The examples in the docstrings of layers that are used alone run, and print what they say."""

import doctest

import pytest

from din_train.model import dice, local_activation_unit


@pytest.mark.parametrize("module", [dice, local_activation_unit], ids=lambda module: module.__name__)
def test_examples_print_what_they_say(module: object) -> None:
    failed, attempted = doctest.testmod(module)
    assert attempted > 3
    assert failed == 0
