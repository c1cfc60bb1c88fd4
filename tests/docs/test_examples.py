"""The examples of new methods: they keep the contract, do what they say, and stand on the page as they are."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import torch
from support import ready, trained
from torch.nn import functional as F

from clbench.testing import PROPERTIES, check_strategy, remark

EXAMPLES = Path(__file__).parents[2] / "docs" / "examples"
HARD, SURE, KEPT = (f"{EXAMPLES}/{name}" for name in (
    "hard_replay.py:HardReplay", "confidence_penalty.py:ConfidencePenalty", "stored_features.py:StoredFeatures"
))  # fmt: skip
STRATEGIES = {
    "hard_replay": [{"er": {}}, {HARD: {"power": 1}}],
    "confidence_penalty": [{SURE: {"strength": 0.1}}],
    "stored_features": [{"er": {}}, {KEPT: {"strength": 0.1}}],
}


@pytest.mark.parametrize("prop", PROPERTIES)
@pytest.mark.parametrize("name", STRATEGIES)
def test_the_example_keeps_the_contract(name, prop):
    check_strategy(STRATEGIES[name], prop)


@pytest.mark.parametrize("name", STRATEGIES)
def test_nothing_is_to_be_noted_about_the_example(name):
    assert [each.text for each in remark(STRATEGIES[name]) if each.warns] == []


def test_the_page_shows_the_files_as_they_are():
    page = (EXAMPLES.parent / "examples.md").read_text(encoding="utf-8")
    blocks = re.findall(r"```python\n# (\w+\.py)\n(.*?)```", page, flags=re.DOTALL)
    assert dict(blocks) == {path.name: path.read_text(encoding="utf-8") for path in EXAMPLES.glob("*.py")}


def at_each_step(strategy, look):
    """Train, and call ``look`` with learner, batch, output and the loss of each step; return what it returned."""
    run, found = ready(strategy), []
    made = run.learner.loss

    def loss(batch, output):
        value = made(batch, output)
        found.append(look(run.learner, batch, output, value))
        return value

    run.learner.loss = loss
    run.train()
    return found


def test_hard_replay_weighs_rehearsed_samples_by_their_loss():
    def look(learner, batch, output, value):
        n = len(batch.stream)
        losses = F.cross_entropy(learner.classes.mask(batch.index).masked(output.logits), batch.y, reduction="none")
        if n == len(batch):
            return value, losses.mean()
        old = losses[n:].detach()
        return value, (losses[:n].sum() + (losses[n:] * old / old.mean()).sum()) / len(batch)

    pairs = at_each_step(STRATEGIES["hard_replay"], look)
    for ours, by_hand in pairs:
        torch.testing.assert_close(ours, by_hand, rtol=1e-4, atol=1e-5)


def test_the_confidence_penalty_is_the_entropy_over_the_classes_seen_so_far():
    def look(learner, batch, output, value):
        seen = learner.classes.seen
        p = output.logits[:, seen].softmax(1)
        entropy = torch.distributions.Categorical(p).entropy().mean()
        order = seen.cumsum(0) - 1
        return value, F.cross_entropy(output.logits[:, seen], order[batch.y]) - 0.1 * entropy

    for ours, by_hand in at_each_step(STRATEGIES["confidence_penalty"], look):
        torch.testing.assert_close(ours, by_hand, rtol=1e-4, atol=1e-5)


def test_stored_features_are_those_of_the_step_in_which_a_sample_was_met():
    met = {}

    def look(learner, batch, output, _):
        n = len(batch.stream)
        for row, features in zip(batch.rows[:n].tolist(), output.features[:n].detach(), strict=True):
            met.setdefault(row, features)
        stored = [s.side["features"] for s in batch.sources[1:]]
        return [(met[row], kept) for s, side in zip(batch.sources[1:], stored, strict=True)
                for row, kept in zip(batch.rows[s.span].tolist(), side, strict=True)]  # fmt: skip

    pairs = [pair for step in at_each_step(STRATEGIES["stored_features"], look) for pair in step]
    assert len(pairs) > 100
    assert all(torch.equal(first, kept) for first, kept in pairs)


def test_the_examples_change_what_is_learned():
    er = trained("er").learner.w
    assert all(not torch.equal(trained(STRATEGIES[n]).learner.w, er) for n in ("hard_replay", "stored_features"))
