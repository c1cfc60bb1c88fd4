"""Change of modules: against snapshots taken by hand, over seeds, in the table and in the picture."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
import torch
from command_line import call
from matplotlib.text import Text
from support import SMALL, assert_same, everything, ready, trained

from clbench.core.errors import Refused
from clbench.metrics.interval import half_width
from clbench.plots import save
from clbench.plots.picture_format import Format
from clbench.running.module_change import Changes, Measured, measure, picture

FEW = ("stream.dataset.train_rows=100", "model={name: resnet, width: 2, norm: batch}", "training.epochs=2")


def test_recording_leaves_training_alone_bit_for_bit():
    ours, theirs = (everything(trained(s, "training.epochs=2")) for s in ("er + sensitivity", "er"))
    assert_same({k: v for k, v in ours.items() if not k.startswith("Sensitivity")}, theirs)


def test_both_levels_are_the_mean_l1_change_per_weight_of_snapshots_taken_by_hand():
    run = ready("sensitivity", "training.epochs=3")
    learner, passes, ends = run.learner, [], []

    def split():
        w = learner.w.detach().clone()
        return [w[: 64 * 16 + 16], w[64 * 16 + 16 :]]  # fc1, head

    order, end = run.chain.order, run.chain.end_experience

    def at_pass(learner, shown, epoch, order):
        passes.append((epoch, split()))
        return order

    run.chain.order = (*order, at_pass)
    run.chain.end_experience = (*end, lambda *_: (ends.append(split()), passes.append((9, split()))))
    run.train()
    pairs = [(a, b) for (_, a), (n, b) in pairwise(passes) if n != 0]
    state = run.chain.parts[0].state
    assert state["names"] == ["fc1", "head"]
    assert state["counts"] == [15, 4] == [len(pairs), len(ends) - 1]
    for level, steps in enumerate((pairs, list(pairwise(ends)))):
        raw = torch.stack([torch.stack([(y - x).abs().mean() for x, y in zip(a, b, strict=True)]) for a, b in steps])
        size = torch.stack([torch.stack([x.abs().mean() for x in a]) for a, _ in steps])
        torch.testing.assert_close(state["sums"][level, 0], raw.sum(0))
        torch.testing.assert_close(state["sums"][level, 1], (raw / size).sum(0))
        torch.testing.assert_close(state["sums"][level, 2], (raw / raw.sum(1, keepdim=True)).sum(0))


def test_running_statistics_are_modules_of_their_own_outside_of_the_shares():
    run = trained("sensitivity", *FEW, "evaluation.every=0")
    state = run.chain.parts[0].state
    running = [name.startswith("running") for name in state["names"]]
    assert [n for n in state["names"] if n.startswith("running")] == [f"running{i}" for i in range(5)]
    share = state["sums"][1, 2, ~torch.tensor(running)] / state["counts"][1]
    assert float(share.sum()) == pytest.approx(1.0, abs=1e-5)
    assert bool((state["sums"][:, 0] > 0).all())


def test_what_stands_still_has_no_change():
    run = trained("sensitivity + hft(granularity=layer, start_experience=1, redraw=never)", "model.hidden=[6, 6]")
    free = {name: not bool(run.learner.frozen[place].any()) for name, place in run.learner.slices.items()}
    raw = dict(zip(run.chain.parts[0].state["names"], run.chain.parts[0].state["sums"][1, 0].tolist(), strict=True))
    assert raw["head"] > 0
    assert {raw["fc1"] > 0, raw["fc2"] > 0} == {True, False}
    assert (raw["fc1"] > 0) == free["layers.0.weight"]


def test_measuring_a_benchmark_averages_over_steps_and_seeds():
    found = measure(SMALL, strategies=["naive", "er"], seeds=3, overrides=["training.epochs=2"])
    assert [each.label for each in found.changes] == ["naive", "er"]
    assert found.seeds == (0, 1, 2)
    naive = found.changes[0]
    assert naive.modules == ("fc1", "head")
    assert naive.weights.tolist() == [64 * 16 + 16, 16 * 10 + 10]
    values = []
    for seed in range(3):
        state = trained("sensitivity", "training.epochs=2", seed=seed).chain.parts[0].state
        values.append((state["sums"][1, 0] / state["counts"][1]).numpy())
    np.testing.assert_allclose(naive.mean("experience", "raw"), np.mean(values, axis=0), rtol=1e-5)
    np.testing.assert_allclose(naive.half("experience", "raw"), half_width(values), rtol=1e-4)


def test_a_strategy_that_cannot_run_is_left_out_with_the_reason():
    found = measure(SMALL, strategies=["naive", "er"], seeds=1, overrides=["memory.size=0"])
    assert [each.label for each in found.changes] == ["naive"]
    assert "memory" in found.left_out["er"]
    with pytest.raises(Refused, match="boundaries"):
        measure(SMALL, seeds=1, overrides=["stream.boundaries=false"])


def test_a_single_experience_has_passes_and_no_experience_level():
    (joint,) = measure(SMALL, strategies=["joint"], seeds=1).changes
    assert np.isfinite(joint.mean("pass", "raw")).all()
    assert np.isnan(joint.mean("experience", "raw")).all()
    assert len(picture(Measured("small@1", "mlp", (0,), (joint,))).axes) == 2


def made(label, factor):
    values = np.empty((3, 2, 3, 2))
    values[...] = factor * np.array([1.0, 2.0, 3.0])[:, None, None, None] * np.array([0.1, 10.0])
    return Changes(label, ("conv1", "head"), np.array([5, 7]), values)


def texts(figure):
    """All that is written on a figure but in its panels."""
    return " ".join(text.get_text() for text in figure.findobj(Text))


def test_the_picture_has_a_point_at_the_mean_of_every_module_and_its_interval(tmp_path):
    figure = picture(Measured("b@1", "cnn", (0, 1, 2), (made("naive", 1.0), made("er", 2.0))))
    assert len(figure.axes) == 4
    for axes in figure.axes:
        naive, er = axes.containers
        np.testing.assert_allclose(naive.lines[0].get_xdata(), [0.2, 20.0])
        np.testing.assert_allclose(er.lines[0].get_xdata(), [0.4, 40.0])
        ends = naive.lines[2][0].get_segments()[1][:, 0]
        half = half_width([10.0, 20.0, 30.0])
        assert half > 20  # an interval that reaches below 0 is cut at a tenth of the mean, and an arrow says so
        np.testing.assert_allclose(ends, [2, 20 + half])
        assert sum(list(line.get_xdata()) == pytest.approx([0.02, 2.0]) for line in axes.get_lines()) == 1
        assert axes.get_xlim()[0] > 0.005
    assert "cnn on b@1" in texts(figure)
    assert "naive, cnn on b@1" in texts(picture(Measured("b@1", "cnn", (0,), (made("naive", 1.0),))))
    assert [t.get_text() for t in figure.axes[0].get_yticklabels()] == ["conv1", "head"]
    assert save(figure, tmp_path / "x.png").stat().st_size > 10_000


def test_a_narrow_picture_has_the_width_asked_for_and_an_interval_only_from_three_seeds_on():
    figure = picture(Measured("b@1", "cnn", (0, 1), (made("naive", 1.0), made("er", 2.0))), Format(width=3.3))
    assert figure.get_figwidth() == pytest.approx(3.3)
    assert "interval" not in figure.get_label()


def test_the_command_prints_a_row_per_module_and_draws(tmp_path):
    answer = call(
        "sensitivity", "split-digits", "--strategies", "naive, er", "--seeds", "2", "-o", tmp_path / "x.svg",
        "--set", "stream.dataset.train_rows=100", "--set", "training.epochs=1",
    )  # fmt: skip
    assert answer.code == 0
    for module, weights in (("fc1", "6,500"), ("fc2", "10,100"), ("head", "1,010")):
        assert sum(line.split()[:2] == [module, weights] for line in answer.out.splitlines()) == 2
    assert "±" not in answer.out
    assert "Mean over 2 seeds (intervals are shown from three seeds on)" in answer.out
    assert "relative" in (tmp_path / "x.svg").read_text(encoding="utf-8")


def test_the_command_refuses_what_does_not_exist():
    answer = call("sensitivity", "split-digit")
    assert answer.code == 2
    assert "split-digits" in answer.err
