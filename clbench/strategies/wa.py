"""WA: rehearsed exemplars with weighted distillation, and weight alignment at the end of each experience."""

from __future__ import annotations

from typing import Literal

from clbench.strategies.align_norms import AlignNorms
from clbench.strategies.icarl import Exemplars
from clbench.strategies.part import Part
from clbench.strategies.positive_head import PositiveHead
from clbench.strategies.weighted_kd import Temperature, WeightedKD


def wa(
    *,
    # published: 2 (Zhao et al. 2020)
    temperature: Temperature = 2.0,
    form: Literal["paper", "code"] = "paper",
) -> list[Part]:
    """Learn exemplars with each experience, distil old classes, then give new classes the old mean norm in the head.

    The loss is (1 - λ) · cross-entropy + λ · distillation, λ the share of old classes; see
    :class:`clbench.strategies.weighted_kd.WeightedKD`. Exemplars are herded, and are shuffled among the samples of the
    experience; see :class:`clbench.strategies.icarl.Exemplars`. The alignment is
    :class:`clbench.strategies.align_norms.AlignNorms`.

    Args:
        temperature: T of the distillation, above 0.
        form: ``paper``, negative weights of the head are set to 0 after each step, see
            :class:`clbench.strategies.positive_head.PositiveHead`; ``code``, they stay, as in PyCIL.

    Source: Zhao et al. 2020, arXiv 1911.07053, "Maintaining discrimination and fairness in class incremental learning".

    Expected:
        class: above replay of the same exemplars with cross-entropy alone, most with small replay buffers and many
            passes; old and new classes are predicted about equally often.
        task: near replay; old classes are distilled together although they do not compete.
        domain: replay of herded samples; no class is ever old, so nothing is distilled or aligned.
        recurring: classes that are absent are distilled; only classes seen for the first time are aligned.
    """
    clipped = [PositiveHead()] if form == "paper" else []
    return [WeightedKD(temperature=temperature), Exemplars(read_out="logits"), *clipped, AlignNorms()]
