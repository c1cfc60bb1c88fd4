"""Memory and its admission policies, against row-by-row re-implementations and their statistics."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import chisquare
from support import ready

from clbench.benchmark.schema import MemoryBudget
from clbench.core.errors import Refused
from clbench.core.rng import Generator
from clbench.families.class_mask import ALL
from clbench.training.batch import EXPERIENCE, ROW, Batch, Y
from clbench.training.buffer_policies import POLICIES
from clbench.training.replay_buffer import Memory


def rows(first: int, labels: list[int], *, experience: int = 0) -> torch.Tensor:
    """An index matrix (5, n) of rows ``first``, ``first + 1``, ... with these labels."""
    n = len(labels)
    columns = [range(first, first + n), labels, [0] * n, [0] * n, [experience] * n]
    return torch.tensor([list(c) for c in columns], dtype=torch.int64)


def kept(memory: Memory) -> list[int]:
    return memory.all().index[ROW].tolist()


def fill(memory: Memory, labels: list[int], batch: int) -> Memory:
    for start in range(0, len(labels), batch):
        memory.offer(rows(start, labels[start : start + batch]))
    return memory


def budget(size: int, policy: str, admit: str) -> MemoryBudget:
    return MemoryBudget.model_construct(size=size, policy=policy, admit=admit)  # herding too, which no file may write


def memory(size: int, policy: str = "reservoir", seed: int = 0, admit: str = "first_pass") -> Memory:
    return Memory(budget(size, policy, admit), seed=seed, classes=5)


# --------------------------------------------------------------------------------------------------- reservoir


@pytest.mark.parametrize("policy", ["reservoir", "class_balanced"])
def test_everything_offered_is_kept_in_order_until_the_memory_is_full(policy):
    labels = [i % 3 for i in range(10)]
    assert kept(fill(memory(10, policy), labels, 3)) == list(range(10))
    assert len(fill(memory(12, policy), labels, 4)) == 10


def vitter(size: int, n: int, u: list[float]) -> list[int]:
    """Algorithm R, row by row; the n-th row (from 1) takes slot floor(u n) if that exists."""
    slots: list[int] = []
    for row in range(n):
        if row < size:
            slots.append(row)
        elif (j := int(u.pop(0) * (row + 1))) < size:
            slots[j] = row
    return slots


@given(size=st.integers(1, 30), n=st.integers(1, 120), batch=st.integers(1, 40), seed=st.integers(0, 3))
@settings(max_examples=80, deadline=None)
def test_the_reservoir_is_algorithm_r_fed_with_the_same_uniform_numbers(size, n, batch, seed):
    u = Generator(seed, "memory/admit").uniform(max(0, n - size)).tolist()
    assert kept(fill(memory(size, seed=seed), [0] * n, batch)) == vitter(size, n, u)


@pytest.mark.parametrize("policy", POLICIES)
def test_what_is_kept_does_not_depend_on_the_size_of_batches(policy):
    labels = np.random.default_rng(0).integers(0, 4, 200).tolist()
    whole = kept(fill(memory(25, policy), labels, 200))
    for batch in (1, 7, 25, 32):
        assert kept(fill(memory(25, policy), labels, batch)) == whole


def test_every_row_offered_to_a_reservoir_is_kept_with_the_same_probability():
    size, n, seeds = 8, 40, 600
    count = np.zeros(n)
    for seed in range(seeds):
        count[kept(fill(memory(size, seed=seed), [0] * n, 5))] += 1
    assert count.sum() == size * seeds
    assert chisquare(count).pvalue > 0.01
    thirds = count.reshape(4, -1).sum(1)  # a slope in time would show here
    assert abs(thirds / thirds.mean() - 1).max() < 0.05


def test_two_rows_of_a_batch_that_take_the_same_slot_leave_the_later_one():
    one = memory(1)
    one._admission.place = lambda y, _: np.zeros(len(y), dtype=np.int64)
    one.offer(rows(0, [5, 6, 7]), {"logits": torch.tensor([[0.5], [0.6], [0.7]])})
    assert one.all().index[:2, 0].tolist() == [2, 7]
    assert one.all().side["logits"].tolist() == [[pytest.approx(0.7)]]


# --------------------------------------------------------------------------------------------------- class-balanced


def chrysakis_moens(size: int, labels: list[int], u: list[tuple[float, float]]) -> list[int]:
    """Algorithm 1 of Chrysakis & Moens 2020, over a plain list of slots; ties go to the class seen first."""
    slots: list[int] = []
    full: set[int] = set()
    order: list[int] = []
    places: dict[int, list[int]] = {}
    for row, label in enumerate(labels):
        chance, pick = u[row]
        if label not in order:
            order.append(label)
            places[label] = []
        if len(slots) < size:
            places[label].append(len(slots))
            slots.append(row)
            continue
        sizes = {c: sum(labels[r] == c for r in slots) for c in order}
        largest = [c for c in order if sizes[c] == max(sizes.values())]
        full.update(largest)
        if label not in full:
            place = places[largest[0]].pop(int(pick * len(places[largest[0]])))
            places[label].append(place)
            slots[place] = row
        elif chance < sizes[label] / labels[: row + 1].count(label):
            slots[places[label][int(pick * sizes[label])]] = row
    return slots


@given(
    size=st.integers(1, 20),
    labels=st.lists(st.integers(0, 4), min_size=1, max_size=100),
    batch=st.integers(1, 30),
    seed=st.integers(0, 3),
)
@settings(max_examples=80, deadline=None)
def test_class_balanced_is_algorithm_1_fed_with_the_same_uniform_numbers(size, labels, batch, seed):
    u = Generator(seed, "memory/admit").uniform(2 * len(labels)).reshape(-1, 2).tolist()
    assert kept(fill(memory(size, "class_balanced", seed), labels, batch)) == chrysakis_moens(size, labels, u)


def test_class_balanced_keeps_even_counts_on_a_long_tailed_stream():
    rng = np.random.default_rng(1)
    labels = rng.permutation(np.repeat(range(5), [800, 200, 60, 30, 12])).tolist()
    balanced = fill(memory(60, "class_balanced"), labels, 32).all().index[Y].bincount(minlength=5).tolist()
    assert balanced == [12, 12, 12, 12, 12]
    plain = fill(memory(60), labels, 32).all().index[Y].bincount(minlength=5).tolist()
    assert plain[0] > 30
    assert plain[4] < 4


def test_class_balanced_keeps_even_counts_when_classes_arrive_one_after_another():
    labels = np.repeat(range(4), 50).tolist()
    assert fill(memory(20, "class_balanced"), labels, 8).all().index[Y].bincount().tolist() == [5, 5, 5, 5]


def test_inside_a_class_the_class_balanced_memory_is_a_uniform_reservoir():
    labels = [0, 1] * 30
    count = np.zeros(60)
    for seed in range(500):
        count[kept(fill(memory(10, "class_balanced", seed), labels, 6))] += 1
    assert chisquare(count).pvalue > 0.01


# --------------------------------------------------------------------------------------------------- quota


@given(labels=st.lists(st.integers(0, 4), min_size=1, max_size=100), batch=st.integers(1, 30), size=st.integers(5, 24))
@settings(max_examples=60, deadline=None)
def test_the_class_quota_is_a_reservoir_of_its_own_for_every_class(labels, batch, size):
    u, quota = Generator(0, "memory/admit").uniform(len(labels)).tolist(), size // 5
    reservoirs: dict[int, list[int]] = {}
    for row, label in enumerate(labels):
        own = reservoirs.setdefault(label, [])
        if len(own) < quota:
            own.append(row)
        elif (j := int(u[row] * labels[: row + 1].count(label))) < quota:
            own[j] = row
    ours = kept(fill(memory(size, "class_quota"), labels, batch))
    assert sorted(ours) == sorted(row for own in reservoirs.values() for row in own)


def test_the_class_quota_leaves_room_for_classes_to_come_and_counts_its_bytes_as_kept():
    early = fill(memory(20, "class_quota"), [0, 1] * 50, 10)
    assert early.all().index[Y].bincount().tolist() == [4, 4]
    assert len(early) == 8
    assert len(early.draw(20).slots) == 8


def test_a_quota_below_one_row_a_class_is_refused():
    with pytest.raises(Refused, match="has too few slots for 5 classes"):
        memory(4, "class_quota")


# --------------------------------------------------------------------------------------------------- state


@pytest.mark.parametrize("policy", POLICIES)
def test_an_admission_policy_goes_on_from_its_state_written_to_json(policy):
    labels = np.random.default_rng(0).integers(0, 5, 90)
    whole = POLICIES[policy](12, Generator(0, "a"), 5)
    experience = np.arange(90) // 25
    whole.place(labels[:50], experience[:50])
    copied = POLICIES[policy](12, Generator(5, "b"), 5)
    copied.state = json.loads(json.dumps(whole.state))
    assert copied.place(labels[50:], experience[50:]).tolist() == whole.place(labels[50:], experience[50:]).tolist()


@pytest.mark.parametrize("policy", [p for p in POLICIES if "herding" not in p])  # which take nothing when offered
def test_a_memory_goes_on_from_its_state_with_side_tensors_and_draws(policy):
    def offer(to: Memory, first: int) -> None:
        to.offer(rows(first, [first % 3] * 8, experience=first // 20), {"z": torch.arange(8.0).reshape(8, 1) + first})

    whole, other = memory(10, policy), memory(10, policy, seed=7)
    for first in range(0, 40, 8):
        offer(whole, first)
    whole.draw(3)
    other.state = whole.state
    for first in range(40, 80, 8):
        offer(whole, first), offer(other, first)
        ours, theirs = whole.draw(4, before=3), other.draw(4, before=3)
        assert torch.equal(ours.index, theirs.index)
        assert torch.equal(ours.side["z"], theirs.side["z"])
    assert kept(whole) == kept(other)
    assert whole.has_earlier(3) == other.has_earlier(3)


def test_a_state_is_not_changed_by_what_the_memory_does_afterwards():
    full = fill(memory(5), [0] * 5, 5)
    state = full.state
    before = json.dumps({**state, "index": state["index"].tolist()})
    fill(full, [1] * 50, 10)
    full.draw(2)
    assert json.dumps({**state, "index": state["index"].tolist()}) == before


# --------------------------------------------------------------------------------------------------- draws


def test_a_draw_holds_different_rows_and_all_of_them_where_there_are_fewer():
    ten = fill(memory(20), list(range(10)), 10)
    drawn = ten.draw(6).index[ROW].tolist()
    assert len(set(drawn)) == 6
    assert sorted(ten.draw(50).index[ROW].tolist()) == list(range(10))


def test_draws_are_uniform_over_the_rows_kept():
    ten, count = fill(memory(10), [0] * 10, 10), np.zeros(10)
    for _ in range(1000):
        count[ten.draw(3).slots] += 1
    assert chisquare(count).pvalue > 0.01


def test_a_draw_of_earlier_rows_holds_no_row_of_the_running_experience():
    mixed = memory(30)
    for experience in range(3):
        mixed.offer(rows(10 * experience, [experience] * 10, experience=experience))
    assert set(mixed.draw(30, before=2).index[EXPERIENCE].tolist()) == {0, 1}
    assert mixed.draw(30, before=0).index.shape == (5, 0)
    assert not mixed.has_earlier(0)
    assert mixed.has_earlier(1)
    assert mixed.has_earlier(None)


def test_side_tensors_follow_their_rows():
    full = memory(6)
    for first in range(0, 60, 5):
        full.offer(rows(first, [0] * 5), {"z": torch.arange(first, first + 5.0)})
    assert full.all().side["z"].tolist() == [float(r) for r in kept(full)]
    draw = full.draw(4)
    assert draw.side["z"].tolist() == [float(r) for r in draw.index[ROW]]


def test_bytes_count_raw_rows_and_side_tensors():
    counted = Memory(budget(10, "reservoir", "first_pass"), seed=0, row_bytes=64)
    counted.offer(rows(0, [0, 1, 2]), {"z": torch.zeros(3, 7)})
    assert counted.bytes == 3 * 64 + 10 * 7 * 4


@pytest.mark.parametrize(("admit", "first", "again"), [("first_pass", 4, 4), ("every_pass", 4, 8), ("end", 0, 0)])
def test_rows_are_offered_on_the_pass_that_the_benchmark_names(admit, first, again):
    lazy = {"gather": lambda index: index, "class_mask": lambda index: ALL}
    keeper = memory(20, admit=admit)
    keeper.admit(Batch(rows(0, [0] * 4), first_pass=True, **lazy))
    assert len(keeper) == first
    keeper.admit(Batch(rows(0, [0] * 4), first_pass=False, **lazy))
    assert len(keeper) == again


def test_rehearsed_rows_are_not_offered_again():
    keeper = memory(20)
    batch = Batch(rows(0, [0] * 4), gather=lambda i: i, class_mask=lambda i: ALL)
    batch.append(rows(50, [1] * 3))
    keeper.admit(batch)
    assert kept(keeper) == [0, 1, 2, 3]


def test_with_admission_at_the_end_memory_holds_earlier_experiences_only_while_one_is_running():
    run = ready("er", "memory.admit=end", "training.epochs=2", "memory.size=400")
    newest: list[tuple[int, int]] = []

    def watch(*_) -> None:
        origin = run.learner.memory.all().index[EXPERIENCE]
        newest.append((run.cursor.experience, int(origin.max()) if len(origin) else -1))

    run.train(watch)
    assert all(latest == running - 1 for running, latest in newest)
    assert sorted(kept(run.learner.memory)) == list(range(300))


def test_a_memory_of_size_zero_keeps_nothing():
    empty = memory(0)
    empty.offer(rows(0, [1, 2]))
    assert len(empty) == 0
    assert not empty.has_earlier(None)


def test_class_quota_gives_every_class_its_share_from_the_start_and_a_reservoir_inside():
    def kept_of_class_0(seed):
        quota = Memory(budget(6, "class_quota", "every_pass"), seed=seed, classes=3)
        labels = [0] * 8 + [1]
        fill(quota, labels, 4)
        assert quota.all().index[Y].bincount(minlength=3).tolist() == [2, 1, 0]  # the third share stays free
        return {int(row) for row, y in zip(quota.all().index[0], quota.all().index[Y], strict=True) if y == 0}

    count = np.zeros(8)
    for seed in range(400):
        count[list(kept_of_class_0(seed))] += 1
    assert count.sum() == 800
    assert abs(count - 100).max() < 40  # 4.6 standard deviations of a fair draw of 2 out of 8


def test_class_quota_without_a_slot_for_each_class_is_refused():
    with pytest.raises(ValueError, match="has too few slots for 10 classes"):
        Memory(budget(9, "class_quota", "end"), seed=0, classes=10)


# ------------------------------------------------------------------------------------------ greedy, per experience


@given(labels=st.lists(st.integers(0, 4), min_size=1, max_size=100), batch=st.integers(1, 30), size=st.integers(1, 24))
@settings(max_examples=60, deadline=None)
def test_the_greedy_memory_takes_a_row_where_there_is_room_or_its_class_is_not_the_largest(labels, batch, size):
    count: dict[int, int] = {}
    taken = 0
    for label in labels:
        if sum(count.values()) < size:
            count[label] = count.get(label, 0) + 1
            taken += 1
        elif count.get(label, 0) < max(count.values()):
            largest = [c for c in count if count[c] == max(count.values())]
            assert len(largest) >= 1
            count[largest[0]] -= 1  # which of the largest gives way does not change the multiset of counts
            count[label] = count.get(label, 0) + 1
            taken += 1
    kept_labels = fill(memory(size, "greedy_balanced"), labels, batch).all().index[Y].tolist()
    assert len(kept_labels) == min(size, len(labels))
    ours = sorted(np.bincount(kept_labels, minlength=5).tolist())
    assert ours == sorted([count.get(c, 0) for c in range(5)])


def test_the_greedy_memory_keeps_the_first_rows_of_a_class_that_has_its_share():
    assert sorted(kept(fill(memory(6, "greedy_balanced"), [0] * 6 + [0] * 20, 4))) == [0, 1, 2, 3, 4, 5]


def test_experiences_share_a_memory_evenly_and_each_keeps_its_last_rows():
    whole = memory(12, "per_experience")
    for e in range(3):
        for first in range(0, 20, 5):
            whole.offer(rows(100 * e + first, [e] * 5, experience=e))
        sizes = [whole.of_experience(i).index.shape[1] for i in range(e + 1)]
        assert sizes == {0: [12], 1: [6, 6], 2: [4, 4, 4]}[e]
    for e in range(3):
        assert sorted(whole.of_experience(e).index[0].tolist()) == list(range(100 * e + 16, 100 * e + 20))


def test_a_memory_per_experience_needs_boundaries_and_a_slot_for_each():
    with pytest.raises(Refused, match="needs visible boundaries"):
        memory(5, "per_experience").offer(rows(0, [0], experience=-1))
    small = memory(1, "per_experience")
    small.offer(rows(0, [0], experience=0))
    with pytest.raises(Refused, match="1 slots for 2 experiences"):
        small.offer(rows(1, [0], experience=1))


# --------------------------------------------------------------------------------------------------- chosen by a part


def test_a_part_may_choose_what_is_kept_within_the_budget():
    chosen = memory(5, "herding")
    chosen.offer(rows(0, [0, 1, 2]))
    assert len(chosen) == 0
    chosen.replace(rows(10, [3, 4], experience=2), {"z": torch.tensor([[1.0], [2.0]])})
    assert kept(chosen) == [10, 11]
    assert chosen.side["z"].shape == (5, 1)
    assert chosen.take(torch.tensor([1])).side["z"].tolist() == [[2.0]]
    assert chosen.has_earlier(3)
    assert not chosen.has_earlier(2)
    chosen.replace(rows(20, [3]))
    assert kept(chosen) == [20]
    with pytest.raises(Refused, match="6 samples cannot be put into a replay buffer of 5"):
        chosen.replace(rows(0, [0] * 6))
    with pytest.raises(Refused, match="with policy reservoir"):
        memory(5).replace(rows(0, [0]))
