"""Half fine-tuning: what is drawn, by counting; what is held, against a plain loop with masks of its own."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
import torch
from support import Disturbable, assert_same, batches, everything, ready, same_trace, train_until, trained

from clbench.core.errors import Refused
from clbench.core.rng import Generator
from clbench.models.weight_groups import layers
from clbench.running.prepare import Skip
from clbench.strategies.hft import shares

VIT = "model={name: vit, patch: 4, width: 8, depth: 4, attention_heads: 2}"
RESNET = "model={name: resnet, width: 2, norm: batch}"


def drawn(strategy, *changes, seed=0):
    """A run whose part has drawn once: its learner, and (P,) what is free."""
    run = ready(strategy, *changes, seed=seed)
    part, learner = run.chain.parts[0], run.learner
    run.trainer.enter(run.stream[0])
    part._draw(learner)
    frozen = learner.frozen
    return learner, torch.ones_like(learner.w, dtype=torch.bool) if frozen is None else ~frozen


def states(learner, free):
    """(kind, block) -> for each layer of that kind whether all, none or some of its weights are free."""
    found: dict[tuple[str, int], list[str]] = {}
    for layer in layers(learner.model, learner.slices):
        parts = torch.cat([free[p.start : p.stop] for p in layer.places])
        word = "all" if bool(parts.all()) else "some" if bool(parts.any()) else "none"
        found.setdefault((layer.kind, layer.block), []).append(word)
    return found


# ------------------------------------------------------------------------- what is drawn


@pytest.mark.parametrize("seed", range(3))
def test_in_every_transformer_block_two_of_four_attention_and_one_of_two_feed_forward_layers_are_trained(seed):
    learner, free = drawn("hft", VIT, seed=seed)
    found = states(learner, free)
    for block in range(4):
        attention = [found[kind, block][0] for kind in ("query", "key", "value", "output")]
        assert sorted(attention) == ["all", "all", "none", "none"]
        assert sorted(found[kind, block][0] for kind in ("up", "down")) == ["all", "none"]
    norms = Counter(word for (kind, _), words in found.items() if kind == "norm" for word in words)
    assert norms["some"] == 0
    assert norms["all"] in (4, 5)  # of 2 in each block and one behind them
    assert found["embedding", -1] == ["all", "all"]
    assert found["head", 4] == ["all"]


def test_of_three_matrices_a_block_trains_two_in_half_of_the_blocks_and_one_in_the_other_half():
    for seed in range(20):
        assert sorted(shares([3] * 8, 0.5, Generator(seed, "test"))) == [1] * 4 + [2] * 4


def test_shares_are_right_on_average_and_in_total():
    generator, sizes = Generator(0, "test"), [1, 2, 5, 4]
    many = np.array([shares(sizes, 0.3, generator) for _ in range(4000)])
    np.testing.assert_allclose(many.mean(axis=0), 0.3 * np.array(sizes), atol=0.04)
    assert set(many.sum(axis=1)) <= {3, 4}  # 0.3 * 12 = 3.6
    assert shares(sizes, 1.0, generator) == sizes


@pytest.mark.parametrize("seed", range(3))
def test_a_residual_block_trains_one_of_its_two_convolutions(seed):
    learner, free = drawn("hft", RESNET, seed=seed)
    found = states(learner, free)
    assert all(sorted(found["conv", block]) == ["all", "none"] for block in range(8))
    shortcuts = Counter(found["shortcut", block][0] for block in (2, 4, 6))
    assert shortcuts["all"] in (1, 2)
    assert shortcuts["some"] == 0


def test_fully_connected_weights_and_biases_are_halved_apart_over_the_whole_model():
    learner, free = drawn("hft", "model.hidden=[5, 6, 7, 8]")
    whole = {name: bool(free[place].all()) for name, place in learner.slices.items()}
    assert whole["head.weight"]
    assert whole["head.bias"]
    for end in ("weight", "bias"):
        assert sum(whole[f"layers.{i}.{end}"] for i in range(4)) == 2
    assert all(whole[name] or not bool(free[place].any()) for name, place in learner.slices.items())


@pytest.mark.parametrize("seed", range(4))
def test_half_of_the_blocks_are_drawn_at_the_level_of_layers_and_the_last_norm_goes_with_the_last_of_them(seed):
    learner, free = drawn("hft(granularity=layer)", VIT, seed=seed)
    found = states(learner, free)
    blocks = [{word for (_, b), words in found.items() if b == block for word in words} for block in range(4)]
    assert all(len(words) == 1 for words in blocks)
    assert Counter(next(iter(words)) for words in blocks) == {"all": 2, "none": 2}
    assert set(found["norm", 4]) == blocks[3]


@pytest.mark.parametrize(
    ("model", "seed", "blocks"),
    [
        ("model.hidden=[5, 6, 7, 8]", 0, {0, 1}),
        ("model.hidden=[5, 6, 7, 8]", 1, {1, 3}),
        ("model={name: cnn, width: 2, hidden: 6, norm: group}", 0, {2, 3}),
        (RESNET, 0, {0, 1, 5, 6}),
        (RESNET, 1, {0, 2, 3, 5}),
    ],
)
def test_models_without_stray_norms_draw_the_blocks_that_they_always_drew(model, seed, blocks):
    learner, free = drawn("hft(granularity=layer)", model, seed=seed)
    found = states(learner, free)
    assert {block for (kind, block), words in found.items() if words[0] == "all" and kind != "head"} == blocks


def test_layers_of_any_kind_are_drawn_at_the_level_of_the_model():
    learner, free = drawn("hft(granularity=model)", VIT)
    words = [w for (kind, _), own in states(learner, free).items() if kind not in ("head", "embedding") for w in own]
    assert Counter(words)["all"] in (16, 17)  # of 8 layers in each of 4 blocks and the last norm
    assert Counter(words)["some"] == 0


def test_half_of_the_output_units_of_every_layer_are_drawn_with_their_biases():
    learner, free = drawn("hft(granularity=unit)", "model.hidden=[6, 10]")
    for layer, units in (("layers.0", 6), ("layers.1", 10)):
        weight = free[learner.slices[f"{layer}.weight"]].reshape(units, -1)
        bias = free[learner.slices[f"{layer}.bias"]]
        assert torch.equal(weight.all(1), weight.any(1))
        assert torch.equal(weight.all(1), bias)
        assert int(bias.sum()) == units // 2


def test_units_of_a_convolution_are_its_filters():
    learner, free = drawn("hft(granularity=unit)", "model={name: cnn, width: 4, hidden: 6, norm: none}")
    kernel = free[learner.slices["convolutions.2.weight"]].reshape(8, -1)
    assert torch.equal(kernel.all(1), kernel.any(1))
    assert torch.equal(kernel.all(1), free[learner.slices["convolutions.2.bias"]])
    assert int(kernel.all(1).sum()) == 4


@pytest.mark.parametrize(("fraction", "count"), [(0.5, 512), (0.25, 256)])
def test_so_many_elements_of_every_tensor_are_drawn(fraction, count):
    learner, free = drawn(f"hft(granularity=element, fraction={fraction})")  # 64 x 16 weights
    assert int(free[learner.slices["layers.0.weight"]].sum()) == count
    assert int(free[learner.slices["layers.0.bias"]].sum()) == 16 * fraction
    assert bool(free[learner.slices["head.weight"]].all())


def test_of_two_draws_in_one_strategy_each_holds_its_own():
    run = trained("hft(granularity=element) + hft(granularity=unit)")
    masks = []
    for part in run.chain.parts:
        part._draw(run.learner)
        masks.append(run.trainer._frozen.masks[f"hft/{part.twin}"])
    assert not torch.equal(*masks)
    assert torch.equal(run.learner.frozen, masks[0] | masks[1])


def test_the_realised_share_of_trained_weights_is_recorded():
    run = trained("hft(granularity=element)")
    free, own, head = run.chain.parts[0].state["trainable"], 64 * 16 + 16, 16 * 10 + 10
    assert free == pytest.approx((own / 2 + head) / (own + head))
    assert free == pytest.approx(float((~run.learner.frozen).float().mean()))


# ------------------------------------------------------------------------- when


def masks(strategy, *changes):
    """Train, and return the frozen weights of every step."""
    run, seen = ready(strategy, *changes), []
    run.chain.after_step += (lambda learner, _: seen.append((learner.experience, learner.frozen)),)
    run.train()
    return seen


def distinct(seen):
    """Per experience, the number of different masks."""
    found: dict[int, list] = {}
    for experience, mask in seen:
        own = found.setdefault(experience, [])
        if not any(mask is None if other is None else mask is not None and torch.equal(mask, other) for other in own):
            own.append(mask)
    return found


@pytest.mark.parametrize(
    ("strategy", "counts"),
    [
        ("hft(granularity=unit)", [1, 1, 1, 1, 1]),
        ("hft(granularity=unit, redraw=epoch)", [1, 2, 2, 2, 2]),
        ("hft(granularity=unit, start_experience=1)", [1, 1, 1, 1, 1]),
        ("hft(granularity=unit, start_experience=3)", [1, 1, 1, 1, 1]),
    ],
)
def test_a_draw_lasts_an_experience_or_a_pass(strategy, counts):
    found = distinct(masks(strategy, "training.epochs=2"))
    assert [len(found[e]) for e in range(5)] == counts
    start = int(strategy.partition("start_experience=")[2][:1] or 2)
    assert [found[e][0] is None for e in range(5)] == [e + 1 < start for e in range(5)]
    held = [mask for e in range(start - 1, 5) for mask in found[e]]
    assert len({tuple(mask.tolist()) for mask in held}) == len(held)


def test_a_draw_that_is_never_renewed_is_the_same_to_the_end():
    found = distinct(masks("hft(granularity=unit, redraw=never)"))
    assert found[0] == [None]
    assert all(torch.equal(found[e][0], found[1][0]) for e in range(2, 5))


def test_draws_do_not_move_the_order_of_the_stream():
    ours, theirs = (batches(ready(s, "training.epochs=2")) for s in ("hft(redraw=epoch)", "naive"))
    assert [b.rows.tolist() for b in ours] == [b.rows.tolist() for b in theirs]


# ------------------------------------------------------------------------- what is held


@pytest.mark.parametrize(
    "optimizer",
    [
        ("training.momentum=0.9", "training.weight_decay=0.01"),
        ("training.optimizer=adam", "training.lr=0.01"),
        ("training.optimizer=adamw", "training.lr=0.01", "training.weight_decay=0.1"),
    ],
    ids=["momentum", "adam", "adamw"],
)
@pytest.mark.parametrize("granularity", ["category", "unit", "element"])
def test_held_weights_and_what_the_optimiser_remembers_of_them_stand_still(optimizer, granularity):
    run = ready(f"hft(granularity={granularity}, redraw=epoch)", "training.epochs=2", *optimizer)
    learner, before, moved = run.learner, {}, []

    def look():
        kept = {
            k: v.clone()
            for k, v in run.trainer.steps.optimizer.state.get(learner.w, {}).items()
            if v.shape == learner.w.shape
        }
        return {"w": learner.w.detach().clone(), **kept}

    def check(learner, _):
        now, frozen = look(), learner.frozen
        if frozen is not None:
            assert bool(frozen.any())
            for name, value in now.items():
                old = before.get(name, torch.zeros_like(value))
                assert torch.equal(value[frozen], old[frozen]), name
                moved.append(bool((value != old)[~frozen].any()))
        before.update(now)

    before.update(look())
    run.chain.after_step += (check,)
    run.train()
    assert len(moved) > 50
    assert np.mean(moved) > 0.95


def test_the_run_is_a_plain_loop_that_puts_held_weights_back_after_every_step():
    ours, theirs = ready("hft(granularity=element)"), ready("naive")
    held: list = []
    ours.chain.after_step += (lambda learner, _: held.append(learner.frozen),)
    ours.train()
    put_back, kept = iter(held), {}
    theirs.chain.before_step += (lambda learner, _: kept.update(w=learner.w.detach().clone()),)

    def restore(learner, _):
        mask = next(put_back)
        if mask is not None:
            learner.w.data.copy_(torch.where(mask, kept["w"], learner.w.data))

    theirs.chain.after_step += (restore,)
    theirs.train()
    assert torch.equal(ours.learner.w, theirs.learner.w)
    assert not torch.equal(ours.learner.w, trained("naive").learner.w)


@pytest.mark.parametrize("granularity", ["category", "layer", "model", "unit", "element"])
def test_training_all_of_it_is_plain_training_bit_for_bit(granularity):
    strategy = f"hft(granularity={granularity}, fraction=1, start_experience=1)"
    ours, theirs = (trained(s, "training.momentum=0.9", model=Disturbable) for s in (strategy, "naive"))
    assert torch.equal(ours.learner.w, theirs.learner.w)
    assert same_trace(ours, theirs)


def test_statistics_of_held_norms_follow_the_batches_or_stand_still_as_asked():
    for how, follows in (("update", True), ("hold", False)):
        run = train_until(ready(f"hft(statistics={how}, start_experience=1)", RESNET, "evaluation.every=0"), 1)
        free = ~run.learner.frozen
        for layer in layers(run.learner.model, run.learner.slices):
            if layer.kind == "norm":
                module = run.learner.model.get_submodule(layer.name)
                held = not bool(free[layer.places[0].start])
                assert bool((module.running_mean != 0).any()) == (follows or not held)


def test_its_mask_holds_in_the_loops_of_other_parts_too():
    run = ready("hft(granularity=element) + fpf(modules=all, iters=10)")
    before = {}
    run.chain.end_stream = (lambda learner: before.update(w=learner.w.detach().clone()), *run.chain.end_stream)
    run.train()
    moved = run.learner.w.detach() != before["w"]
    assert bool(moved.any())
    assert not bool((moved & run.learner.frozen).any())


# ------------------------------------------------------------------------- limits


def test_hidden_boundaries_leave_only_the_plain_form_with_one_draw_for_all():
    written = "hft(start_experience=1, granularity=unit, redraw=never)"
    hidden, shown = (trained(written, f"stream.boundaries={b}", "stream.output=all") for b in ("false", "true"))
    assert hidden.chain.parts[0].state["draws"] == 1
    assert torch.equal(hidden.learner.w, shown.learner.w)
    assert not [alarm for alarm in hidden.alarms() if "hft" in alarm]
    for refused in ("hft", "hft(redraw=never)", "hft(start_experience=1)", "hft(start_experience=1, redraw=epoch)"):
        with pytest.raises(Skip, match="visible boundaries"):
            ready(refused, "stream.boundaries=false")


@pytest.mark.parametrize("wrong", ["fraction=0", "fraction=1.5", "granularity=matrix", "start_experience=0"])
def test_impossible_settings_are_refused(wrong):
    with pytest.raises(Refused, match="hft"):
        ready(f"hft({wrong})")


def test_layers_whose_statistics_are_held_stay_so_in_a_run_that_goes_on():
    settings = ("training.epochs=2",)
    strategy = "hft(statistics=hold)"
    whole = trained(strategy, *settings, model=Disturbable)
    half = train_until(ready(strategy, *settings, model=Disturbable), 13)
    resumed = ready(strategy, *settings, model=Disturbable)
    resumed.restore(half.snapshot())
    resumed.train()
    assert_same(everything(whole), everything(resumed))
