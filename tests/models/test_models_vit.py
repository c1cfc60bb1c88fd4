"""The small vision transformer: sizes by hand, agreement with torch's own layers, per-row gradients."""

from __future__ import annotations

import pytest
import torch
from support import ready, trained
from torch import nn

from clbench.core.errors import Refused
from clbench.models import make
from clbench.models.output import Output


def vit(shape=(3, 8, 8), n_outputs=5, **settings):
    torch.manual_seed(0)
    return make({"name": "vit", "patch": 4, "width": 8, "depth": 2, "attention_heads": 2, **settings}, shape, n_outputs)


@pytest.mark.parametrize(("shape", "patch"), [((1, 8, 8), 2), ((1, 28, 28), 7), ((3, 32, 32), 4), ((3, 8, 12), 4)])
def test_it_takes_images_of_any_size_that_its_patches_divide(shape, patch):
    model = vit(shape, patch=patch)
    output = model(torch.zeros(2, *shape))
    assert isinstance(output, Output)
    assert output.logits.shape == (2, 5)
    assert output.features.shape == (2, 8)
    torch.testing.assert_close(model.head(output.features), output.logits)


def test_it_has_the_weights_worked_out_by_hand():
    model = make({"name": "vit"}, (3, 32, 32), 10)
    attention, feed_forward, norms = 4 * (64 * 64 + 64), 64 * 128 + 128 + 128 * 64 + 64, 2 * 2 * 64
    embedding, positions, head = 48 * 64 + 64, 64 * 64, 64 * 10 + 10
    expected = embedding + positions + 4 * (attention + feed_forward + norms) + 2 * 64 + head
    assert sum(p.numel() for p in model.parameters()) == expected == 141_898


def test_it_is_torchs_encoder_of_the_same_weights_read_at_the_mean_token():
    ours = vit().eval()
    layer = nn.TransformerEncoderLayer(8, 2, 16, dropout=0.0, activation="gelu", batch_first=True, norm_first=True)
    theirs = nn.TransformerEncoder(layer, 2, norm=nn.LayerNorm(8), enable_nested_tensor=False)
    with torch.no_grad():
        for block, other in zip(ours.blocks, theirs.layers, strict=True):
            a, b = block.attention, other.self_attn
            for end in ("weight", "bias"):
                getattr(b, f"in_proj_{end}").copy_(torch.cat([getattr(x, end) for x in (a.query, a.key, a.value)]))
                pairs = [
                    (a.output, b.out_proj), (block.up, other.linear1), (block.down, other.linear2),
                    (block.attention_norm, other.norm1), (block.mlp_norm, other.norm2), (ours.norm, theirs.norm),
                ]  # fmt: skip
                for mine, yours in pairs:
                    getattr(yours, end).copy_(getattr(mine, end))
    x = torch.randn(4, 3, 8, 8, generator=torch.Generator().manual_seed(1))
    patches = nn.functional.unfold(x, 4, stride=4).transpose(1, 2)  # (B, N, channels * patch * patch)
    tokens = patches @ ours.embedding.weight.T + ours.embedding.bias + ours.positions
    torch.testing.assert_close(ours(x).features, theirs(tokens).mean(1), rtol=1e-4, atol=1e-5)


def test_tokens_tell_positions_apart():
    model = vit().eval()
    x = torch.randn(1, 3, 8, 8, generator=torch.Generator().manual_seed(1))
    moved = x.roll(4, dims=3)  # the same patches, elsewhere
    assert not torch.allclose(model(x).logits, model(moved).logits, atol=1e-6)
    model.positions.data.zero_()
    torch.testing.assert_close(model(x).logits, model(moved).logits)


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"patch": 3}, "patch = 3 does not divide images of 8x8"),
        ({"attention_heads": 3}, "width = 8 is no multiple of attention_heads = 3"),
        ({"depth": 0}, "depth = 0"),
        ({"mlp_ratio": 0.0}, "mlp_ratio"),
        ({"patch": 16}, "at least 16x16"),
    ],
)
def test_impossible_sizes_are_refused(settings, sentence):
    with pytest.raises(Refused, match=sentence):
        vit(**settings)


def test_fisher_information_is_the_mean_of_squared_gradients_row_by_row():
    run = ready("naive", "model={name: vit, patch: 4, width: 8, depth: 1, attention_heads: 2}")
    learner, shown = run.learner, run.trainer.enter(run.stream[0])
    index = shown.index[:, :5]
    expected = torch.zeros_like(learner.g)
    for n in range(5):
        batch = learner.batch(index[:, n : n + 1])
        expected += learner.side_work.gradient(batch).square() / 5
    torch.testing.assert_close(learner.side_work.fisher(index, estimator="empirical"), expected, rtol=1e-3, atol=1e-9)


def test_it_learns_digits():
    run = trained(
        "joint", "model={name: vit, patch: 2, width: 16, depth: 1, attention_heads: 2}", "training.optimizer=adam",
        "training.lr=0.01", "training.epochs=15", "evaluation.every=0",
    )  # fmt: skip
    assert run.evaluator.trace().score[-1].mean() > 0.6
