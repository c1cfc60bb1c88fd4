"""The family of classes, against torch's own functions and against sums over all classes."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch.nn import functional as F

from clbench import families
from clbench.core.errors import Refused
from clbench.core.measure import ACCURACY, Measure
from clbench.core.rng import Generator
from clbench.families import FAMILIES
from clbench.families.class_mask import ALL, ClassMask
from clbench.families.classification import Classification
from clbench.training.batch import Batch

LOGITS = torch.tensor([[2.0, 1.0, 0.0], [0.0, 3.0, 1.0], [1.0, 0.0, 4.0], [0.5, 0.4, 0.3]])
TARGET = torch.tensor([0, 2, 2, 1])
MASK = torch.tensor([[True, True, True], [True, False, True], [False, False, True], [True, True, False]])


def test_the_loss_of_each_row_is_cross_entropy_over_the_classes_that_compete():
    each = Classification().loss(LOGITS, TARGET, ClassMask(MASK))
    by_hand = [F.cross_entropy(LOGITS[i : i + 1, MASK[i]], torch.tensor([k])) for i, k in enumerate((0, 1, 0, 1))]
    torch.testing.assert_close(each, torch.stack(by_hand))
    assert torch.equal(Classification().mean_loss(LOGITS, TARGET, ALL), F.cross_entropy(LOGITS, TARGET))


def test_the_log_likelihood_is_minus_the_loss():
    torch.testing.assert_close(
        Classification().log_likelihood(LOGITS, TARGET, ClassMask(MASK)),
        -Classification().loss(LOGITS, TARGET, ClassMask(MASK)),
    )


def test_the_answer_is_the_best_class_that_competes_and_its_score_says_whether_it_is_right():
    family = Classification()
    assert family.answer(LOGITS, ALL).tolist() == [0, 1, 2, 0]
    assert family.answer(LOGITS, ClassMask(MASK)).tolist() == [0, 2, 2, 0]
    assert family.score(family.answer(LOGITS, ClassMask(MASK)), TARGET).tolist() == [True, True, True, False]


def test_outcomes_are_all_classes_with_their_probabilities():
    outcomes = list(Classification().outcomes(LOGITS, ClassMask(MASK)))
    assert [target.tolist() for target, _ in outcomes] == [[c] * 4 for c in range(3)]
    weights = torch.stack([weight for _, weight in outcomes], dim=1)
    torch.testing.assert_close(weights, LOGITS.masked_fill(~MASK, -torch.inf).softmax(1))
    assert not weights[~MASK].any()


def test_drawn_targets_follow_the_probabilities():
    logits = torch.tensor([0.2, 0.5, 0.3]).log().expand(20_000, 3)
    drawn = Classification().draw(logits, ALL, Generator(0, "draws"))
    shares = torch.bincount(drawn, minlength=3) / len(drawn)
    assert shares.tolist() == pytest.approx([0.2, 0.5, 0.3], abs=0.015)  # four standard errors


def test_a_batch_of_classes_has_labels_as_targets():
    index = torch.tensor([[5, 6], [1, 0], [0, 0], [0, 0], [0, 0]])
    batch = Batch(index, gather=lambda index: index, class_mask=lambda index: ALL)
    assert batch.target.tolist() == batch.y.tolist() == [1, 0]


def test_accuracy_is_shown_in_percent_and_a_loss_as_a_positive_number():
    bits = Measure(name="bits per byte", short="bits", lower_is_better=True)
    assert (ACCURACY.text(0.8317), ACCURACY.text(0.8317, fewer=1), bits.text(-2.5)) == ("83.17 %", "83.2 %", "2.500")


def test_a_family_that_does_not_exist_or_is_none_is_refused(small_dataset):
    with pytest.raises(Refused, match="no family called 'clasification'; did you mean 'classification'"):
        families.of(replace(small_dataset, family="clasification"))
    FAMILIES.add("number 7", 7)
    with pytest.raises(Refused, match="must be a subclass"):
        families.of(replace(small_dataset, family="number 7"))
