"""Permuted: every experience shows all classes with its own fixed permutation of the input features."""

from __future__ import annotations

import numpy as np

from clbench.core.rng import Generator
from clbench.core.types import Dataset, Stream
from clbench.scenarios.shared_settings import Output, Setting, check_experiences, common, views_stream


def permuted(
    dataset: Dataset,
    seed: int,
    *,
    setting: Setting = "domain",
    experiences: int = 10,
    first_identity: bool = True,
    rows_per_experience: int | None = None,
    output: Output = "seen",
    task_labels: bool | None = None,
    boundaries: bool = True,
) -> Stream:
    """Generate a stream in which experience i shows the data with its F input features in the i-th of E permutations.

    Args:
        dataset: The data set, with C classes and F features in a sample (all pixels of all channels).
        seed: Determines the permutations and, with ``rows_per_experience``, the samples.
        setting: ``domain``: the same C output units throughout. ``task`` and ``class``: C units for each permutation, E
            * C in all, with the task revealed or hidden.
        experiences: Number of permutations E, at least 1.
        first_identity: Whether the first permutation is the identity, that is, the unchanged data.
        rows_per_experience: Training samples of each experience, drawn uniformly without replacement and independently
            for each experience; by default all.
        output: Which units compete: those ``seen`` so far, or ``all``.
        task_labels: Whether the task of a sample is revealed; by default only in the task setting.
        boundaries: Whether the strategy sees beginnings and ends of experiences.

    Raises:
        Refused: ``experiences`` is below 1, or the data set has too few samples.

    Source: Goodfellow et al. 2013 (arXiv 1312.6211), section 5.1; settings after van de Ven et al. 2022.
    """
    from clbench.data.transforms import Permute

    shared = common(setting=setting, output=output, task_labels=task_labels, boundaries=boundaries)
    features = int(np.prod(dataset.shape))
    draw = Generator(seed, "stream")
    # The first permutation is drawn and then replaced, so that the others do not depend on first_identity.
    orders = np.stack([draw.permutation(features) for _ in range(check_experiences(experiences))])  # (E, F)
    if first_identity:
        orders[0] = np.arange(features)
    names = [f"order {i}" for i in range(len(orders))]
    if first_identity:
        names[0] = "identity"
    transform = Permute(orders)
    return views_stream(
        dataset,
        seed,
        name="permuted",
        names=names,
        transform=transform,
        shared=shared,
        rows_per_experience=rows_per_experience,
        description={
            "experiences": len(orders),
            "first_identity": bool(first_identity),
            "transform": transform.describe(),
        },
    )
