"""The memory that shrinks: exemplars by brute force, shares of classes, and whole runs."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from support import assert_same, everything, ready, trained

from clbench.benchmark.schema import MemoryBudget
from clbench.core.errors import Refused
from clbench.training.batch import EXPERIENCE, ROW, Y
from clbench.training.herding import exemplars

FEATURES = torch.randn(100, 3, generator=torch.Generator().manual_seed(0))


def samples(rows, labels, experience=0):
    index = torch.zeros(5, len(rows), dtype=torch.int64)
    index[ROW], index[Y], index[EXPERIENCE] = torch.tensor(rows), torch.tensor(labels), experience
    return index


def of_rows(index):
    return FEATURES[index[ROW]]


def by_brute_force(rows, n):
    """The rows chosen one after another, each so that the mean of the chosen is nearest to the mean of all."""
    unit = (FEATURES / FEATURES.norm(dim=1, keepdim=True)).double().numpy()
    mean, chosen = unit[rows].mean(0), []
    for _ in range(min(n, len(rows))):
        left = [row for row in rows if row not in chosen]
        far = [np.linalg.norm(mean - unit[[*chosen, row]].mean(0)) for row in left]
        chosen.append(left[int(np.argmin(far))])
    return chosen


def rows_by_class(index):
    return {int(c): index[ROW, index[Y] == c].tolist() for c in index[Y].unique()}


def test_each_class_has_an_equal_share_which_shrinks_as_classes_come():
    first = exemplars(samples(range(20), [0] * 10 + [1] * 10), samples([], []), 11, of_rows)
    zero, one = by_brute_force(range(10), 5), by_brute_force(range(10, 20), 5)
    assert rows_by_class(first) == {0: zero, 1: one}  # 11 // 2, the remainder is not used
    second = exemplars(samples(range(20, 30), [2] * 10, 1), first, 11, of_rows)
    assert rows_by_class(second) == {0: zero[:3], 1: one[:3], 2: by_brute_force(range(20, 30), 3)}


def test_a_class_that_returns_is_herded_with_what_is_kept_of_it():
    first = exemplars(samples(range(10), [0] * 10), samples([], []), 4, of_rows)
    kept = first[ROW].tolist()
    again = exemplars(samples([kept[0], *range(10, 16)], [0] * 7, 1), first, 4, of_rows)
    assert rows_by_class(again) == {0: by_brute_force([*kept[1:], kept[0], *range(10, 16)], 4)}
    assert len(set(again[ROW].tolist())) == 4


def test_a_class_with_few_samples_keeps_them_all():
    kept = exemplars(samples(range(5), [0, 0, 1, 1, 1]), samples([], []), 8, of_rows)
    assert {c: len(rows) for c, rows in rows_by_class(kept).items()} == {0: 2, 1: 3}


def test_too_few_slots_are_refused():
    with pytest.raises(Refused, match=r"memory\.size 1 leaves no exemplar for each of the 2 classes seen so far"):
        exemplars(samples([0, 1], [0, 1]), samples([], []), 1, of_rows)


HERDED = ("memory.policy=shrinking_herding", "memory.admit=end", "memory.size=43", "training.epochs=2")


def test_a_run_keeps_what_the_model_of_each_end_chooses():
    run, sizes = ready("er", *HERDED), []
    held, wanted = run.learner.memory, {}
    choose = type(held).end_experience

    def noted(self, index, features):
        choose(self, index, features)
        wanted.clear()
        wanted.update(rows_by_class(self.all().index))
        sizes.append(len(self))
        share = 43 // len(wanted)
        for c in index[Y].unique().tolist():
            own = index[:, index[Y] == c]
            z = dict(zip(own[ROW].tolist(), run.learner.side_work.features(own).features, strict=True))
            unit = {row: (f / f.norm()).double().numpy() for row, f in z.items()}
            mean = np.mean(list(unit.values()), 0)
            first = min(unit, key=lambda row: np.linalg.norm(mean - unit[row]))
            assert wanted[c][0] == first
            assert len(wanted[c]) == share

    type(held).end_experience, kept = noted, choose
    try:
        run.train()
    finally:
        type(held).end_experience = kept
    assert sizes == [42, 40, 42, 40, 40]
    assert np.isfinite(run.evaluator.trace().score[-1]).all()


def test_a_run_resumes_within_an_experience():
    run, kept = ready("er", *HERDED), []
    run.train(lambda step, _: kept.append(run.snapshot()) if step == 21 else None)
    resumed = ready("er", *HERDED)
    resumed.restore(kept[0])
    resumed.train()
    assert_same(everything(resumed), everything(run))


def test_the_features_of_the_choice_count_as_extra_work():
    plain, herded = (trained("naive", change, "memory.admit=end") for change in ("memory.policy=reservoir", HERDED[0]))
    assert herded.learner.cost.extra_forward_rows > plain.learner.cost.extra_forward_rows == 0
    assert_same({"w": herded.learner.w}, {"w": plain.learner.w})


def test_it_is_a_policy_of_ends():
    with pytest.raises(ValueError, match="chooses among all samples of an experience at its end; set admit: end"):
        MemoryBudget(size=10, policy="shrinking_herding")


def test_hidden_boundaries_refuse_it():
    with pytest.raises(Refused, match=r"depends on experiences, whose boundaries are hidden"):
        ready("er", *HERDED, "stream.boundaries=false")
