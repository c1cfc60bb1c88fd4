"""What ``clbench check`` says besides the contract: competing classes, the length of the gradient, the identity."""

from __future__ import annotations

import re

import pytest
from support import EVERY_STRATEGY, SMALL

from clbench.testing import remark

OWN = '''
from dataclasses import dataclass
from typing import ClassVar

import clbench
from torch.nn import functional as F


@dataclass(kw_only=True)
class Unmasked(clbench.Part):
    """Add the cross-entropy over all classes on rehearsed samples."""

    strength: float = 1.0
    identity: ClassVar = {"strength": 0}

    def loss(self, learner, batch, output):
        old = slice(len(batch.stream), len(batch))
        if not self.strength or old.start == old.stop:
            return None
        return self.strength * F.cross_entropy(output.logits[old], batch.y[old])


@dataclass(kw_only=True)
class Masked(Unmasked):
    """The same over the classes that compete."""

    identity: ClassVar = None

    def loss(self, learner, batch, output):
        old = slice(len(batch.stream), len(batch))
        if old.start == old.stop:
            return None
        return self.strength * F.cross_entropy(batch.class_mask.masked(output.logits)[old], batch.y[old])
'''


@pytest.fixture
def own(tmp_path, monkeypatch):
    (tmp_path / "own.py").write_text(OWN, encoding="utf-8")
    monkeypatch.chdir(tmp_path)


def told(strategy, **given):
    return [(each.warns, each.text) for each in remark(strategy, **given)]


def lengths(text):
    return [float(number) for number in re.search(r"gradient is (.*?) times", text)[1].split(", ")]


@pytest.mark.usefixtures("own")
def test_a_loss_over_classes_that_do_not_compete_is_named_with_its_part_and_its_samples():
    (warns, text), *_ = told("er + own.py:Unmasked")
    assert warns
    assert text.startswith("Unmasked uses outputs of classes that do not compete, on rehearsed samples. ")


@pytest.mark.usefixtures("own")
def test_a_masked_loss_is_not_accused_and_a_missing_identity_is_named():
    (length, missing) = told("er + own.py:Masked(strength=0.1)")
    assert length[0] is False
    assert missing[0] is True
    assert missing[1].startswith("Masked declares no identity. ")


@pytest.mark.usefixtures("own")
def test_a_gradient_that_is_much_longer_than_without_the_part_is_pointed_out():
    (warns, text), _ = told("er + own.py:Masked(strength=3)")
    assert warns
    assert all(length > 3**0.5 for length in lengths(text))
    assert "a learning rate about" in text


@pytest.mark.usefixtures("own")
def test_the_length_of_the_strategy_without_the_part_is_not_the_parts_fault():
    (warns, text), _ = told("er(loss=sum) + own.py:Masked(strength=0.05)")
    assert lengths(text) == pytest.approx([2, 2, 2], rel=0.1)
    assert not warns


@pytest.mark.parametrize(
    ("strategy", "expected", "words"),
    [
        ("naive", [1, 1, 1], []),
        ("er", [1, 1, 1], []),
        ("er(loss=sum)", [2, 2, 2], []),
        ("lwf", None, []),
        ("er_ace", None, []),
        ("derpp(alpha=0.5, beta=0.5)", None, ["derpp uses outputs", "its source does so too"]),
        ("er + loss_form(old_classes=all)", None, ["loss_form uses outputs", "as its description says"]),
    ],
)
def test_shipped_strategies_are_informed_about_and_never_warned_of(strategy, expected, words):
    found = told(strategy)
    assert not any(warns for warns, _ in found)
    *outside, (_, text) = found
    assert expected is None or lengths(text) == expected
    assert len(outside) == bool(words)
    assert all(word in outside[0][1] for word in words)


@pytest.mark.parametrize("strategy", EVERY_STRATEGY)
def test_no_shipped_strategy_is_warned_of(strategy):
    assert [text for warns, text in told(strategy, defaults=SMALL["defaults"]) if warns] == []


def test_of_a_learner_with_a_step_of_its_own_nothing_is_said():
    assert told("slda") == []


def test_a_strategy_that_does_not_run_is_left_to_its_contract(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "bad.py").write_text(
        OWN.replace(
            "return self.strength * F.cross_entropy(output", "raise KeyError(1)\n        return F.cross_entropy(output"
        ),
        encoding="utf-8",
    )
    assert told("er + bad.py:Unmasked") == []
