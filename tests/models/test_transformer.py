"""Vision transformers of four sources in one form: their features are those of the library of the weights."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest
import torch
from torch import nn

from clbench.core.compat import import_torchvision
from clbench.core.errors import Refused
from clbench.models.image_input import ImageInput
from clbench.models.pretrained.loaded import IMAGENET, Loaded
from clbench.models.transformer import Form, VisionTransformer, built, is_transformer, resized_positions
from clbench.models.transformer_names import translated
from clbench.models.vit import ViT

SHARED = Path(os.environ.get("CLBENCH_SHARED_DATA", Path(__file__).parents[3] / "shared" / "data"))


def of(loaded: Loaded, side: int, *, resize: int | None = None, outputs: int = 7) -> VisionTransformer:
    """The model of loaded weights for pictures of a side."""
    form, state = translated(loaded.state, what=loaded.what, **loaded.form)
    images = ImageInput(loaded.mean, loaded.std, resize)
    shape = (3, side, side)
    return built(form, state, images, outputs, shape=shape, antialias=loaded.antialias, what=loaded.what).eval()


def shaken(module: nn.Module) -> nn.Module:
    """The module with all its parameters drawn anew, so that none is 0 or 1."""
    generator = torch.Generator().manual_seed(0)
    for parameter in module.parameters():
        parameter.data.add_(0.05 * torch.randn(parameter.shape, generator=generator))
    return module.eval()


def pictures(side: int) -> torch.Tensor:
    return torch.rand(3, 3, side, side, generator=torch.Generator().manual_seed(1))


def normalised(x: torch.Tensor, mean, std) -> torch.Tensor:
    return (x - torch.tensor(mean).view(1, 3, 1, 1)) / torch.tensor(std).view(1, 3, 1, 1)


def test_weights_of_torchvision_give_torchvisions_features():
    from clbench.models.pretrained.from_torchvision import of_classifier

    import_torchvision()
    from torchvision.models.vision_transformer import VisionTransformer as Theirs

    theirs = shaken(Theirs(image_size=32, patch_size=8, num_layers=3, num_heads=2, hidden_dim=64, mlp_dim=96))
    mine = of(of_classifier(theirs, "small"), 32)
    x = pictures(32)
    theirs.heads = nn.Identity()
    with torch.no_grad():
        torch.testing.assert_close(mine.features(x), theirs(normalised(x, *IMAGENET)), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("scale", [None, 0.1])
def test_weights_of_timm_give_timms_features(scale):
    import_torchvision()
    import timm

    from clbench.models.pretrained.from_timm import of_module

    theirs = shaken(timm.create_model("vit_tiny_patch16_224", img_size=64, depth=3, init_values=scale))
    mine = of(of_module(theirs, "small"), 64)
    assert mine.form.heads == 3
    x = pictures(64)
    with torch.no_grad():
        told = theirs.forward_head(theirs.forward_features(normalised(x, (0.5,) * 3, (0.5,) * 3)), pre_logits=True)
        torch.testing.assert_close(mine.features(x), told, rtol=1e-5, atol=1e-5)


def test_positions_are_resized_as_timm_resizes_them():
    import_torchvision()
    import timm

    from clbench.models.pretrained.from_timm import of_module

    theirs = shaken(timm.create_model("vit_tiny_patch16_224", img_size=224, depth=1))
    mine = of(of_module(theirs, "small"), 96)
    theirs.set_input_size(img_size=96)
    x = pictures(96)
    with torch.no_grad():
        told = theirs.forward_head(theirs.forward_features(normalised(x, (0.5,) * 3, (0.5,) * 3)), pre_logits=True)
        torch.testing.assert_close(mine.features(x), told, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("quick", [False, True])
def test_image_towers_of_open_clip_give_its_image_features(quick):
    import_torchvision()
    from open_clip.model import CLIPTextCfg, CLIPVisionCfg, CustomTextCLIP

    from clbench.models.pretrained.from_open_clip import of_model

    vision = CLIPVisionCfg(layers=2, width=64, head_width=32, patch_size=8, image_size=32)
    text = CLIPTextCfg(context_length=8, vocab_size=50, width=32, heads=2, layers=1)
    theirs = shaken(CustomTextCLIP(embed_dim=24, vision_cfg=vision, text_cfg=text, quick_gelu=quick))
    loaded = of_model(theirs, "small")
    mine = of(loaded, 32)
    assert (mine.form.activation, mine.form.heads) == ("quick_gelu" if quick else "gelu", 2)
    x = pictures(32)
    with torch.no_grad():
        told = theirs.encode_image(normalised(x, loaded.mean, loaded.std))
        torch.testing.assert_close(mine.features(x), told, rtol=1e-5, atol=1e-5)


def test_a_real_transformer_in_a_file_gives_the_features_of_its_own_program():
    folder = SHARED / "vit_s14"
    if not folder.is_dir():
        assert not os.environ.get("CI"), f"{folder} is missing"
        pytest.skip(f"{folder} is missing")
    from clbench import models

    mine = models.make(
        {"name": "pretrained", "source": f"file:{folder / 'vit_s14_fp16.pth'}", "resize": 56}, (3, 32, 32), 10
    ).eval()
    sys.path.insert(0, str(folder))
    try:
        import vit

        theirs = vit.load(str(folder / "vit_s14_fp16.pth"))
    finally:
        sys.path.remove(str(folder))
    x = pictures(32)[:2]
    larger = nn.functional.interpolate(x, size=(56, 56), mode="bilinear", align_corners=False)
    with torch.no_grad():
        told = theirs(normalised(larger, *IMAGENET))
        torch.testing.assert_close(mine.encode(mine.tokens(x)), told, rtol=1e-4, atol=1e-4)
        torch.testing.assert_close(mine(x).features, told[:, 0], rtol=1e-4, atol=1e-4)


def small(**changes) -> VisionTransformer:
    fields = {"width": 12, "depth": 2, "heads": 2, "hidden": 16, "patch": 4, "grid": (2, 2), **changes}
    return shaken(VisionTransformer(Form(**fields), ImageInput(*IMAGENET, None), 5))


def test_a_prefix_is_attended_to_and_an_empty_one_changes_nothing():
    model = small()
    tokens = model.tokens(pictures(8))
    empty = (torch.zeros(1, 0, 12), torch.zeros(1, 0, 12))
    assert torch.equal(model.encode(tokens, {1: empty}), model.encode(tokens))
    more = (torch.randn(1, 3, 12), torch.randn(1, 3, 12))
    changed = model.encode(tokens, {1: more})
    assert not torch.allclose(changed, model.encode(tokens))
    attention = model.blocks[1].attention
    x = torch.randn(2, 5, 12)
    keys = torch.cat([more[0].expand(2, -1, -1), attention.key(x)], 1)
    values = torch.cat([more[1].expand(2, -1, -1), attention.value(x)], 1)
    read = [attention.query(x), keys, values]
    q, k, v = (t.view(2, -1, 2, 6).transpose(1, 2) for t in read)
    byhand = torch.softmax(q @ k.transpose(-2, -1) / 6**0.5, -1) @ v
    assert torch.allclose(attention(x, more), attention.output(byhand.transpose(1, 2).reshape(2, 5, 12)), atol=1e-6)


def test_small_transformers_of_ours_offer_the_same():
    ours = ViT((1, 8, 8), 3, patch=4, width=8, depth=2, heads=2, mlp_ratio=2.0)
    assert is_transformer(ours)
    assert is_transformer(small())
    assert not is_transformer(nn.Linear(3, 3))
    x = torch.rand(2, 1, 8, 8)
    assert torch.equal(ours.pool(ours.encode(ours.tokens(x))), ours(x).features)


def test_positions_of_the_same_grid_keep_their_bits():
    positions = torch.randn(9, 4)
    assert resized_positions(positions, (3, 3), (3, 3), antialias=True) is positions
    assert resized_positions(positions, (3, 3), (5, 4), antialias=True).shape == (20, 4)


def test_a_patch_that_does_not_divide_the_pictures_is_refused_with_a_size_that_it_divides():
    mine = small()
    with pytest.raises(Refused, match="patches of 4 pixels, which do not divide images of 9x9; set resize: 8"):
        built(mine.form, {}, ImageInput(*IMAGENET, None), 5, shape=(3, 9, 9), antialias=False, what="small")


def test_weights_of_another_architecture_are_refused_by_the_name_of_a_layer():
    mine = small()
    state = {name: t for name, t in mine.state_dict().items() if not name.startswith("head.")}
    wrong = {**state, "blocks.1.up.weight": torch.zeros(3, 3)}
    with pytest.raises(
        Refused, match=r"blocks\.1\.up\.weight has shape \(3, 3\), and this architecture needs \(16, 12\)"
    ):
        built(mine.form, wrong, ImageInput(*IMAGENET, None), 5, shape=(3, 8, 8), antialias=False, what="small")
    state["norm.bias"] = torch.full((12,), float("nan"))
    with pytest.raises(Refused, match=r"norm\.bias holds values that are not finite"):
        built(mine.form, state, ImageInput(*IMAGENET, None), 5, shape=(3, 8, 8), antialias=False, what="small")
    del state["norm.bias"]
    with pytest.raises(Refused, match=r"has no weights 'norm\.bias'"):
        built(mine.form, state, ImageInput(*IMAGENET, None), 5, shape=(3, 8, 8), antialias=False, what="small")
