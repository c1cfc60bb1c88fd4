"""Functions that build models from settings. Their signatures are the settings, so this file imports no torch."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from clbench.core.errors import Refused
from clbench.core.parameters import Option


def mlp(
    shape: tuple[int, ...],
    n_outputs: int,
    *,
    hidden: tuple[int, ...] = (100, 100),
    activation: Literal["relu", "tanh", "elu", "gelu"] = "relu",
    dropout: float = 0.0,
    bias: Annotated[bool, Option()] = True,
) -> Any:
    """Build a multilayer perceptron without normalisation.

    Args:
        shape: Shape of one sample, which is flattened.
        n_outputs: Number of output units C.
        hidden: Widths of the hidden layers, each at least 1; empty for a linear model.
        activation: Activation after each hidden layer.
        dropout: Fraction of hidden units that dropout removes after each activation in training, in [0, 1).
        bias: Whether layers have biases, the head included.

    Returns:
        A :class:`clbench.models.mlp.MLP`.

    Raises:
        Refused: A width or fraction is out of range.
    """
    from clbench.models.mlp import MLP

    for width in hidden:
        _at_least_one("mlp", "hidden", width)
    if not 0 <= dropout < 1:
        raise Refused(f"model 'mlp': dropout = {dropout} is not a fraction in [0, 1); write 0 for none")
    return MLP(shape, n_outputs, hidden=hidden, activation=activation, dropout=dropout, bias=bias)


def perceptron(shape: tuple[int, ...], n_outputs: int) -> Any:
    """Build a perceptron: z = Σ w x / √N over the N values of a sample, without a bias, and the class is its sign.

    The logits are ln Φ(-z) and ln Φ(z), the logarithms of the probabilities of a probit model. Unlike the last layer of
    other models, its unit serves both classes. Initial weights are drawn from N(0, 1).

    Args:
        shape: Shape of one sample, which is flattened.
        n_outputs: Number of output units C, which must be 2.

    Returns:
        A :class:`clbench.models.perceptron.Perceptron`.

    Raises:
        Refused: There are not two classes.
    """
    from clbench.models.perceptron import Perceptron

    if n_outputs != 2:
        raise Refused(
            f"model 'perceptron' tells two classes apart, and this stream has {n_outputs} outputs; choose model mlp "
            "with hidden: [], or a stream of two classes in the domain setting"
        )
    return Perceptron(shape)


def cnn(
    shape: tuple[int, ...],
    n_outputs: int,
    *,
    width: int = 32,
    hidden: int = 128,
    norm: Literal["group", "batch", "none"] = "group",
    bias: Annotated[bool, Option()] = True,
) -> Any:
    """Build a small CNN: two blocks of two 3x3 convolutions and a pooling, and one hidden layer; sized for CPUs.

    Args:
        shape: (channels, height, width) of one image, height and width at least 4.
        n_outputs: Number of output units C.
        width: Channels of the first block, at least 1; the second has twice as many.
        hidden: Width of the layer before the head (H), at least 1.
        norm: Group or batch normalisation after each convolution, or no normalisation.
        bias: Whether the two linear layers have biases, and convolutions that no normalisation follows. Norm layers
            keep their own offsets.

    Returns:
        A :class:`clbench.models.cnn.CNN`.

    Raises:
        Refused: Samples are not images or too small, or a width is below 1.
    """
    from clbench.models.cnn import CNN

    _images("cnn", shape, smallest=4)
    _at_least_one("cnn", "width", width)
    _at_least_one("cnn", "hidden", hidden)
    return CNN(shape, n_outputs, width=width, hidden=hidden, norm=norm, bias=bias)


def resnet(
    shape: tuple[int, ...],
    n_outputs: int,
    *,
    width: int = 20,
    norm: Literal["group", "batch"] = "group",
) -> Any:
    """Build a slim ResNet-18: a 3x3 stem without pooling, four stages of two blocks, global average pooling.

    The published form has batch normalisation. Group normalisation is the default, since it has no statistics of the
    current experience that would change the outputs for old tasks.

    Args:
        shape: (channels, height, width) of one image.
        n_outputs: Number of output units C.
        width: Channels of the first stage (nf), at least 1; there are 8 times as many features.
        norm: Kind of normalisation after each convolution.

    Returns:
        A :class:`clbench.models.resnet.SlimResNet18`.

    Raises:
        Refused: Samples are not images, or the width is below 1.

    Source: Lopez-Paz and Ranzato 2017 (GEM, arXiv 1706.08840), width 20.
    """
    from clbench.models.resnet import SlimResNet18

    _images("resnet", shape, smallest=1)
    _at_least_one("resnet", "width", width)
    return SlimResNet18(shape, n_outputs, width=width, norm=norm)


def resnet_cifar(
    shape: tuple[int, ...],
    n_outputs: int,
    *,
    depth: int = 32,
    width: int = 16,
    norm: Literal["group", "batch"] = "batch",
) -> Any:
    """Build the ResNet for small pictures of He et al.: a 3x3 stem, three stages, shortcuts without weights.

    ResNet-32 is the network of most class-incremental papers on CIFAR-100 from scratch.

    Args:
        shape: (channels, height, width) of one image.
        n_outputs: Number of output units C.
        depth: Layers with weights, 6n + 2: 20, 32, 44, 56, 110, ...; a stage has n blocks of two convolutions.
        width: Channels of the first stage, at least 1; there are 4 times as many features.
        norm: Kind of normalisation after each convolution.

    Returns:
        A :class:`clbench.models.resnet_cifar.CifarResNet`.

    Raises:
        Refused: Samples are not images, there is no such depth, or the width is below 1.

    Source: He et al. 2016, arXiv 1512.03385, section 4.2: width 16, batch normalisation, shortcuts of option A,
    convolutions drawn from a normal distribution of variance 2 / (9 * output channels) (arXiv 1502.01852).
    """
    from clbench.models.resnet_cifar import CifarResNet

    _images("resnet_cifar", shape, smallest=1)
    _at_least_one("resnet_cifar", "width", width)
    blocks, rest = divmod(depth - 2, 6)
    if rest or blocks < 1:
        raise Refused(
            f"model 'resnet_cifar': depth = {depth} is not allowed: three stages of n blocks have 6n + 2 layers; "
            "choose 8, 14, 20, 32, 44, 56 or 110"
        )
    return CifarResNet(shape, n_outputs, blocks=blocks, width=width, norm=norm)


def vit(
    shape: tuple[int, ...],
    n_outputs: int,
    *,
    patch: int = 4,
    width: int = 64,
    depth: int = 4,
    attention_heads: int = 4,
    mlp_ratio: float = 2.0,
) -> Any:
    """Build a small vision transformer: patches, learned positions, pre-norm, mean over tokens, no class token.

    Query, key, value and output are separate layers, so that methods can select them. The sizes are our choice for
    CPUs. A patch of 2 suits images of 8x8, 4 or 7 those of 28x28, 4 those of 32x32.

    Args:
        shape: (channels, height, width) of one image.
        n_outputs: Number of output units C.
        patch: Height and width of a patch; it must divide those of the image.
        width: Width of a token (H), a multiple of ``attention_heads``.
        depth: Number of blocks, at least 1.
        attention_heads: Heads of the attention, at least 1. (The setting ``heads`` says whether tasks share the last
            layer.)
        mlp_ratio: Hidden units of a block's two-layer network, as a multiple of ``width``; above 0.

    Returns:
        A :class:`clbench.models.vit.ViT`.

    Raises:
        Refused: Samples are not images, the patch does not divide them, the heads do not divide the width, or a size is
            out of range.

    Source: Dosovitskiy et al. 2021, arXiv 2010.11929; the mean over tokens after Zhai et al. 2022, arXiv 2106.04560.
    """
    from clbench.models.vit import ViT

    for setting, value in (("patch", patch), ("width", width), ("depth", depth), ("attention_heads", attention_heads)):
        _at_least_one("vit", setting, value)
    _images("vit", shape, smallest=patch)
    if shape[1] % patch or shape[2] % patch:
        raise Refused(
            f"model 'vit': patch = {patch} does not divide images of {shape[1]}x{shape[2]}; choose one that does"
        )
    if width % attention_heads:
        raise Refused(
            f"model 'vit': width = {width} is no multiple of attention_heads = {attention_heads}; choose one that is"
        )
    if round(mlp_ratio * width) < 1:
        raise Refused(f"model 'vit': mlp_ratio = {mlp_ratio} leaves no hidden unit; give a number above 0")
    return ViT(shape, n_outputs, patch=patch, width=width, depth=depth, heads=attention_heads, mlp_ratio=mlp_ratio)


def torchvision(
    shape: tuple[int, ...],
    n_outputs: int,
    *,
    architecture: str,
    weights: str | None = None,
    resize: int | None = None,
) -> Any:
    """Build any torchvision classifier with a new last linear layer of ``n_outputs`` units.

    Args:
        shape: (channels, height, width) of one image; a single channel is repeated three times.
        n_outputs: Number of output units C.
        architecture: Name in ``torchvision.models``, such as ``resnet18``.
        weights: Name of published weights (downloaded on first use), such as ``DEFAULT``, or the path of a file with a
            state dict of the 1000-class model; by default random weights.
        resize: Height and width to which images are resized, bilinearly; by default images keep their size.

    Returns:
        A :class:`clbench.models.wrap.Wrapped`.

    Raises:
        Refused: Samples are not images, the architecture or weights are unknown, the last layer is not linear, or the
            architecture does not accept the size of the images.
    """
    from clbench.models.torchvision_model import build

    _images("torchvision", shape, smallest=1)
    if resize is not None:
        _at_least_one("torchvision", "resize", resize)
    return build(shape, n_outputs, architecture=architecture, weights=weights, resize=resize)


def pretrained(
    shape: tuple[int, ...],
    n_outputs: int,
    *,
    source: str,
    train: str = "all",
    input: Literal["own", "unit", "imagenet"] = "own",
    resize: int | None = None,
    architecture: str | None = None,
    attention_heads: int | None = None,
) -> Any:
    """Build a network with pretrained weights and a new last linear layer of ``n_outputs`` units.

    Vision transformers of all sources have one form, so that every part fits them; see
    :class:`clbench.models.transformer.Transformer`.

    Args:
        shape: (channels, height, width) of one image; a single channel is repeated three times.
        n_outputs: Number of output units C.
        source: ``torchvision:resnet50`` (or ``torchvision:resnet50/IMAGENET1K_V2``), ``timm:NAME``,
            ``open_clip:MODEL/WEIGHTS``, ``package:efficientnet-lite0``, ``file:PATH`` of a state dict, or
            ``FILE.py:NAME``, a function that returns a module.
        train: Which weights are trained: ``all``, ``none``, ``head``, or kinds of modules such as ``norm+bias+head``.
            The others are no part of the weights that strategies see, and modules without trained weights stay in
            evaluation mode.
        input: How images in [0, 1] are normalised: with the mean and deviation of the network's ``own`` training, not
            at all (``unit``), or with those of ``imagenet``. Leave the data set's ``normalize`` at none.
        resize: Height and width to which images are resized, bilinearly; by default images keep their size.
        architecture: For ``file:PATH`` of a network that is no vision transformer: the classifier of torchvision to
            which the weights belong.
        attention_heads: For ``file:PATH`` of a vision transformer: the heads of its attention; by default one for 64
            values of a token.

    Returns:
        A :class:`clbench.models.transformer.VisionTransformer` or a :class:`clbench.models.wrap.Wrapped`.

    Raises:
        Refused: Samples are not images, the source is unknown or not there, an extra is missing, or the weights belong
            to another architecture; the message names the layer.
    """
    from clbench.models.pretrained_model import build

    _images("pretrained", shape, smallest=1)
    if shape[0] not in (1, 3):
        raise Refused(
            f"pretrained models take images of 1 or 3 channels, but samples have {shape[0]}; choose model 'cnn'"
        )
    if resize is not None:
        _at_least_one("pretrained", "resize", resize)
    return build(
        shape,
        n_outputs,
        source=source,
        train=train,
        inputs=input,
        resize=resize,
        architecture=architecture,
        attention_heads=attention_heads,
    )


def _images(model: str, shape: tuple[int, ...], *, smallest: int) -> None:
    if len(shape) != 3 or min(shape[1:]) < smallest:
        raise Refused(
            f"model {model!r} takes images (channels, height, width) of at least {smallest}x{smallest}, but samples "
            f"have shape {tuple(shape)}; choose another data set, or model 'mlp'"
        )


def _at_least_one(model: str, setting: str, value: int) -> None:
    if value < 1:
        raise Refused(f"model {model!r}: {setting} = {value} is not a size; give at least 1")
