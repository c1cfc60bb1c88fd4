"""A network of several backbones, begun one after the other, with one head on all of their features.

Letters: B samples, C classes, N backbones, H features of a backbone.
"""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn

from clbench.core.errors import Refused
from clbench.models.output import Output


class Expanded(nn.Module):
    """Compute logits from the features of all backbones that are begun; features of the others are 0 and cost nothing.

    Only the last backbone that is begun is trained: earlier ones stay in evaluation mode, and no gradient passes them.
    The head's weights of backbones that are not begun are 0. The auxiliary head reads the features of one backbone, and
    has C + 1 outputs; it has no share in the logits.

    Args:
        model: A model from samples to ``Output``, with a linear ``head``; it is the first backbone.
        count: N.

    Attributes:
        begun: Number of backbones that are begun; N when it is made, so that its operations can be counted.
        width: H.

    Raises:
        Refused: The head is no linear layer.
    """

    def __init__(self, model: nn.Module, count: int) -> None:
        super().__init__()
        head = model.head
        if not isinstance(head, nn.Linear):
            raise Refused(
                f"several backbones have one linear layer on all of their features, and this model's last layer is "
                f"{type(head).__name__}; choose a model that ends with torch.nn.Linear"
            )
        self.width, self.begun = head.in_features, count
        self.head = nn.Linear(count * self.width, head.out_features, bias=head.bias is not None)
        self.auxiliary = nn.Linear(self.width, head.out_features + 1)
        with torch.no_grad():
            self.head.weight.zero_()
            self.block(0).copy_(head.weight)
            if head.bias is not None:
                self.head.bias.copy_(head.bias)
        if "head" in model._modules:
            model.head = nn.Identity()
        else:  # a wrapper reads the features where its head is called
            head.requires_grad_(False)
        self.backbones = nn.ModuleList([model, *(copy.deepcopy(model) for _ in range(count - 1))])

    def block(self, number: int) -> Tensor:
        """Return the head's weights (C, H) for the features of a backbone, as a view."""
        return self.head.weight[:, number * self.width : (number + 1) * self.width]

    def own_features(self, features: Tensor) -> Tensor:
        """Return the features (B, H) of the last backbone that is begun, from those of all (B, N · H)."""
        return features[:, (self.begun - 1) * self.width : self.begun * self.width]

    def begin(self, number: int) -> None:
        """Begin a backbone with the weights and running statistics of the one before."""
        self.backbones[number].load_state_dict(self.backbones[number - 1].state_dict())
        self.enter(number + 1)

    def enter(self, begun: int) -> None:
        """Use and train the model with some backbones begun."""
        self.begun = begun
        self.train(self.training)

    def train(self, mode: bool = True) -> Expanded:
        """Set the mode; all backbones but the last that is begun stay in evaluation mode."""
        super().train(mode)
        for number, backbone in enumerate(self.backbones):
            if number != self.begun - 1:
                backbone.eval()
        return self

    def features(self, x: Tensor) -> Tensor:
        """Map samples (B, ...) to features (B, N · H)."""
        with torch.no_grad():
            found = [backbone(x).features for backbone in self.backbones[: self.begun - 1]]
        found.append(self.backbones[self.begun - 1](x).features)  # (B, H)
        rest = len(self.backbones) - self.begun
        if rest:
            found.append(found[-1].new_zeros(len(x), rest * self.width))
        return torch.cat(found, dim=1)

    def forward(self, x: Tensor) -> Output:
        features = self.features(x)
        return Output(self.head(features), features)
