"""What methods with prompts share: a frozen transformer, the query of a sample, and features of prompted tokens."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from clbench.strategies.running_classes import RunningClasses

if TYPE_CHECKING:
    from torch import Tensor, nn

    from clbench.training.batch import Batch
    from clbench.training.learner import Learner, Output


@dataclass(kw_only=True)
class Prompts(RunningClasses):
    """Learn prompts for a frozen transformer, with cross-entropy over the classes of the running experience.

    A method adds its prompts in ``build`` and answers with them. Each prompt belongs to a sample alone: no answer
    depends on the other samples of a batch.
    """

    random_stream: ClassVar[str] = "Prompts"

    needs: ClassVar[frozenset[str]] = frozenset({"transformer", "boundaries"})
    owns: ClassVar[frozenset[str]] = frozenset({"prompts"})
    conflicts: ClassVar[dict[str, str]] = {
        "L2M": "the first calls the blocks of the transformer itself, and the second waits for the whole model",
        "SDLoRA": "each trains its own additions to a network of which the rest is frozen",
        "InfLoRA": "each trains its own additions to a network of which the rest is frozen",
        "Adapters": "each trains its own additions to a network of which the rest is frozen",
        "Binary": "the first keeps the network frozen, and the second learns distributions of its weights",
    }
    answers_in_training: ClassVar[bool] = True

    def note(self, learner: Learner, x: Tensor, term: Tensor | None) -> None:
        """Count the pass of the query, in training, and keep a scalar of this pass for the loss.

        Evaluations count their samples, not passes, and keep nothing.
        """
        import torch

        if torch.is_grad_enabled():
            learner.cost.extra_forward_rows += len(x)
            self.__dict__["noted"] = x, term

    def pulled(self, learner: Learner, batch: Batch) -> Tensor:
        """Return the scalar of the pass over a batch, which is run again if another part has run the model since."""
        if self.__dict__.get("noted", (None,))[0] is not batch.x:
            learner.run(batch)
        term: Tensor = self.__dict__.pop("noted")[1]
        return term


def held(model: nn.Module) -> int | None:
    """Hold all weights of a model but the head's, and return D, the width of its tokens.

    ``None`` is returned for a model that is no transformer; its cell is skipped.
    """
    from clbench.models.trained_weights import train_only
    from clbench.models.transformer import is_transformer

    if not is_transformer(model):
        return None
    train_only(model, "head")
    return int(model.norm.weight.shape[0])  # type: ignore[union-attr, index]


def queried(model: nn.Module, x: Tensor) -> tuple[Tensor, Tensor]:
    """Return the tokens (B, N, D) of samples, and their queries (B, D): what the frozen transformer reads of them."""
    import torch

    with torch.no_grad():
        tokens = model.tokens(x)  # type: ignore[operator]
        return tokens, read(model, model.encode(tokens))  # type: ignore[operator]


def read(model: nn.Module, encoded: Tensor) -> Tensor:
    """Return the query (B, D) of encoded tokens (B, N, D): the class token, or the mean if there is none."""
    return encoded.mean(1) if getattr(model, "class_token", None) is None else encoded[:, 0]


def output_of(model: nn.Module, features: Tensor) -> Output:
    """Return logits and features, from features (B, H) after the projection of the model, if it has one."""
    from clbench.models.output import Output

    return Output(model.head(features), features)  # type: ignore[operator]
