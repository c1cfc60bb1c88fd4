"""A source of pretrained weights is no code of strangers, unless it is a function of a file."""

from __future__ import annotations

import pytest

from clbench.submission.trusted_code import NotRunnable, foreign_code, runnable


def cell(source):
    return {
        "stream": {"scenario": "split", "dataset": {"name": "digits"}},
        "model": {"name": "pretrained", "source": source, "train": "head"},
        "strategy": [{"name": "er", "parameters": {}}],
    }


@pytest.mark.parametrize("source", ["package:efficientnet-lite0", "torchvision:resnet18", "file:vit.pth"])
def test_weights_of_a_source_are_read_again_without_trust(source):
    assert list(foreign_code(cell(source))) == []
    assert runnable(cell(source), trust=False) == cell(source)


def test_a_function_of_a_file_that_makes_the_network_is_code_of_strangers():
    assert [each.name for each in foreign_code(cell("own.py:network"))] == ["own.py:network"]
    with pytest.raises(NotRunnable, match="code that is not clbench's own"):
        runnable(cell("own.py:network"), trust=False)
