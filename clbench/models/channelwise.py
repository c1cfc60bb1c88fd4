"""Convolutions that are followed by a convolution of each channel by itself, for methods that adapt a frozen network.

Letters: C channels of an output.
"""

from __future__ import annotations

from typing import Literal

from torch import Tensor, nn

Where = Literal["wide", "all"]


class ChannelwiseConv(nn.Module):
    """Apply a convolution, and then a kernel to each channel of its output by itself, without a bias.

    The kernels begin as the identity (Dirac), so that the output is that of the convolution.

    Args:
        base: The convolution.
        kernel: Size of the kernels in each direction, odd.
    """

    def __init__(self, base: nn.Conv1d | nn.Conv2d | nn.Conv3d, kernel: int) -> None:
        super().__init__()
        self.base = base
        c, like = base.out_channels, base.weight
        kind = next(kind for kind in (nn.Conv1d, nn.Conv2d, nn.Conv3d) if isinstance(base, kind))
        self.channelwise = kind(
            c, c, kernel, padding=kernel // 2, groups=c, bias=False, device=like.device, dtype=like.dtype
        )
        nn.init.dirac_(self.channelwise.weight, groups=c)

    def forward(self, x: Tensor) -> Tensor:
        output: Tensor = self.channelwise(self.base(x))
        return output


def add_channelwise(model: nn.Module, *, kernel: int, where: Where) -> list[str]:
    """Let a kernel for each channel follow the convolutions of a model, in place.

    A convolution that the model uses at several places keeps one set of kernels. The last layer, ``model.head``, is
    left as it is.

    Args:
        model: Any module.
        kernel: Size of the kernels in each direction, odd.
        where: ``wide`` for convolutions whose own kernel is larger than one place, ``all`` for every one.

    Returns:
        The names of the added layers; empty if there is no such convolution.
    """
    head = getattr(model, "head", None)
    left = set() if head is None else {id(module) for module in head.modules()}
    made: dict[int, ChannelwiseConv] = {}
    added = []
    for path, parent in list(model.named_modules()):
        for name, module in list(parent._modules.items()):
            if not isinstance(module, nn.Conv1d | nn.Conv2d | nn.Conv3d) or id(module) in left:
                continue
            if where == "wide" and max(module.kernel_size) == 1:
                continue
            if id(module) not in made:
                made[id(module)] = ChannelwiseConv(module, kernel)
                added.append(f"{path}.{name}.channelwise".lstrip("."))
            parent._modules[name] = made[id(module)]
    return added
