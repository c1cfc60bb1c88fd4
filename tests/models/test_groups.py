"""Groups of weights: every weight in one, kinds and blocks worked out by hand, structure found in other models."""

from __future__ import annotations

from collections import Counter

import pytest
import torch
from torch import nn

from clbench.core.errors import Refused
from clbench.models import make
from clbench.models.flat_weights import flatten
from clbench.models.weight_groups import groups, layers, mask, norms, select

IMAGE = (3, 16, 16)
CONFIGS = [
    {"name": "mlp", "hidden": [7, 5]},
    {"name": "mlp", "hidden": []},
    {"name": "cnn", "width": 4, "hidden": 8},
    {"name": "resnet", "width": 4, "norm": "batch"},
    {"name": "resnet_cifar", "width": 4, "depth": 14},
    {"name": "vit", "width": 8, "depth": 3, "attention_heads": 2},
    {"name": "torchvision:resnet18"},
    {"name": "torchvision:mobilenet_v3_small"},
]


def table(config, shape=IMAGE):
    model = make(config, shape, 5) if isinstance(config, dict) else config
    flat = flatten(model)
    return model, flat, layers(model, flat.slices)


def named(config, shape=IMAGE):
    return {group.name: group for group in groups(table(config, shape)[2])}


@pytest.mark.parametrize("config", CONFIGS, ids=lambda c: c["name"])
def test_every_weight_belongs_to_exactly_one_group_and_units_divide_every_tensor(config):
    _, flat, found = table(config)
    times = torch.zeros(flat.w.numel(), dtype=torch.int64)
    for group in groups(found):
        for place in group.places:
            times[place.start : place.stop] += 1
            assert place.size % place.units == 0
            inside = flat.slices[place.parameter]
            assert inside.start <= place.start < place.stop <= inside.stop
    assert bool((times == 1).all())


def test_an_mlp_is_its_layers_with_their_biases():
    found = named({"name": "mlp", "hidden": [7, 5]}, (1, 4, 4))
    assert {name: group.size for name, group in found.items()} == {
        "fc1": 16 * 7 + 7,
        "fc2": 7 * 5 + 5,
        "head": 5 * 5 + 5,
    }


def test_a_slim_resnet_has_a_stem_four_stages_and_a_head():
    model, _, found = table({"name": "resnet", "width": 4, "norm": "batch"})
    sizes = {group.name: group.size for group in groups(found)}
    assert sizes == {
        "stem": 9 * 3 * 4,
        "norm0": 8,
        "conv1": 4 * 9 * 16,
        "norm1": 4 * 8,
        "conv2": 9 * (32 + 3 * 64) + 32,
        "norm2": 5 * 16,
        "conv3": 9 * (128 + 3 * 256) + 128,
        "norm3": 5 * 32,
        "conv4": 9 * (512 + 3 * 1024) + 512,
        "norm4": 5 * 64,
        "head": 32 * 5 + 5,
    }
    assert Counter(layer.block for layer in found if layer.kind == "conv") == dict.fromkeys(range(8), 2)
    assert [layer.block for layer in found if layer.kind == "shortcut"] == [2, 4, 6]
    second = next(group for group in groups(found) if group.name == "norm2")
    assert len(second.statistics) == 2 * 5
    assert norms(model, [second])[0] is model.blocks[2].first_norm
    assert len(norms(model, groups(found))) == 20


def test_a_resnet_for_cifar_has_three_stages():
    found = table({"name": "resnet_cifar", "width": 4, "depth": 14})[2]
    assert [group.name for group in groups(found)] == [
        *("stem", "norm0", "conv1", "norm1", "conv2", "norm2", "conv3", "norm3", "head")
    ]
    assert Counter(layer.block for layer in found if layer.kind == "conv") == dict.fromkeys(range(6), 2)


def test_torchvisions_resnet_has_the_same_modules_in_the_same_stages_as_ours():
    ours = named({"name": "resnet", "width": 64, "norm": "batch"})
    theirs = named({"name": "torchvision:resnet18"})
    assert list(ours) == list(theirs)
    assert {n: g.size for n, g in ours.items() if n != "stem"} == {n: g.size for n, g in theirs.items() if n != "stem"}
    assert theirs["stem"].size == 7 * 7 * 3 * 64  # ours has a 3x3 stem
    assert len(theirs["norm4"].statistics) == 2 * 5


def test_a_transformer_has_query_key_value_output_and_two_feed_forward_layers_in_each_block():
    found = table({"name": "vit", "width": 8, "depth": 3, "attention_heads": 2})[2]
    kinds = Counter((layer.kind, layer.block) for layer in found)
    for block in range(3):
        assert {k: kinds[k, block] for k in ("query", "key", "value", "output", "up", "down")} == dict.fromkeys(
            ("query", "key", "value", "output", "up", "down"), 1
        )
        assert kinds["norm", block] == 2
    assert kinds["embedding", -1] == 2  # patches, positions
    assert kinds["norm", 3] == 1
    assert kinds["head", 3] == 1


def test_packed_attention_of_torch_is_taken_apart_into_its_thirds():
    class Encoder(nn.Module):
        def __init__(self):
            super().__init__()
            self.embed = nn.Linear(4, 6)
            self.layers = nn.ModuleList(nn.TransformerEncoderLayer(6, 2, 10, batch_first=True) for _ in range(2))
            self.head = nn.Linear(6, 3)

    model = Encoder()
    flat = flatten(model)
    by_kind = {(layer.kind, layer.block): layer for layer in layers(model, flat.slices)}
    attention = model.layers[1].self_attn
    with torch.no_grad():
        attention.in_proj_weight[6:12] = 5.0
        attention.in_proj_bias[6:12] = 5.0
    chosen = mask([by_kind["key", 1]], flat.w)
    assert int(chosen.sum()) == 36 + 6
    assert bool((flat.w.detach()[chosen] == 5.0).all())
    assert {kind for kind, block in by_kind if block == 0} == {
        "query", "key", "value", "output", "up", "down", "norm"
    }  # fmt: skip
    assert by_kind["embedding", -1].size == 4 * 6 + 6
    assert by_kind["down", 0].size == 10 * 6 + 6


def test_a_model_without_known_structure_is_grouped_by_type_and_order():
    class Own(nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.n, self.b = nn.Conv1d(1, 2, 3), nn.BatchNorm1d(2), nn.Conv1d(2, 4, 3)
            self.c, self.free = nn.Linear(4, 3), nn.Parameter(torch.zeros(7))
            self.head = nn.Linear(3, 2)

    found = named(Own(), None)
    assert {name: (group.kind, group.size) for name, group in found.items()} == {
        "other1": ("other", 7),
        "stem": ("stem", 8),
        "norm2": ("norm", 4),
        "conv3": ("conv", 28),
        "fc4": ("fc", 15),
        "head": ("head", 8),
    }


def test_layers_of_a_plain_sequence_are_blocks_with_their_norms():
    model = nn.Sequential(nn.Linear(4, 6), nn.BatchNorm1d(6), nn.ReLU(), nn.Linear(6, 5), nn.LayerNorm(5))
    found = layers(model, flatten(model).slices)
    assert [(layer.kind, layer.block) for layer in found] == [("fc", 0), ("norm", 0), ("fc", 1), ("norm", 1)]


def test_weights_that_are_not_trained_are_in_no_group_and_tied_ones_in_one():
    model = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4), nn.Linear(4, 4))
    model[2].weight = model[1].weight
    model[0].requires_grad_(False)
    assert [layer.size for layer in layers(model, flatten(model).slices)] == [16 + 4, 4]


def test_modules_are_chosen_by_name_kind_or_alias():
    found = groups(table({"name": "vit", "width": 8, "depth": 2, "attention_heads": 2})[2])

    def chosen(text):
        return [group.name for group in select(found, text)]

    assert chosen("head+norm2") == ["norm2", "head"]
    assert chosen("up, down") == chosen("mlp") == ["up1", "down1", "up2", "down2"]
    assert chosen("attention")[:4] == ["query1", "key1", "value1", "output1"]
    assert chosen("all") == [group.name for group in found]
    assert chosen("head+conv") == ["head"]  # a kind that this model lacks


def test_biases_are_a_kind_without_those_of_other_groups_in_the_text():
    found = groups(table({"name": "cnn", "width": 2, "hidden": 6, "norm": "group"})[2])

    def chosen(text):
        return {group.name: [place.parameter for place in group.places] for group in select(found, text)}

    every = [place.parameter for group in found for place in group.places if place.bias]
    assert chosen("bias") == {"bias": every}
    assert chosen("bias+head")["bias"] == [name for name in every if not name.startswith("head")]
    assert chosen("all+bias") == chosen("all")
    assert not any("norm" in name for name in every)


@pytest.mark.parametrize("text", ["haed", "", "conv", "stem+conv9"])
def test_what_names_no_module_is_refused_with_those_there_are(text):
    found = groups(table({"name": "mlp", "hidden": [7]})[2])
    with pytest.raises(Refused, match="fc1, head"):
        select(found, text)
