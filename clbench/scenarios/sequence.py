"""Sequence: one data set after another, such as MNIST, then Fashion-MNIST, then KMNIST; or one domain after another."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import AfterValidator

from clbench.core.errors import Refused
from clbench.core.types import Dataset, Experience, Index, Origin, Rows, Stream
from clbench.scenarios.by_group import by_group
from clbench.scenarios.class_groups import in_order, written_order
from clbench.scenarios.shared_settings import Common, Output, Setting, common, own_experience, own_task

SequenceOrder = Annotated[
    Literal["given", "seeded"] | str | list[int | str] | dict[str, Any],
    AfterValidator(lambda written: written_order(written, ("given", "seeded"))),
]
"""An order of data sets or domains."""


def sequence(
    dataset: Dataset,
    seed: int,
    *,
    setting: Setting = "class",
    order: SequenceOrder = "given",
    output: Output = "seen",
    task_labels: bool | None = None,
    boundaries: bool = True,
) -> Stream:
    """Generate a stream in which every experience is one of several joined data sets, and one task.

    Every training sample occurs exactly once. With one data set that has a column ``group``, every experience is one of
    its domains, as in ``by_group``, and all of them share their outputs (``setting: domain``) if nothing else is set.

    Args:
        dataset: Several data sets joined to one, as ``dataset: mnist+fashion_mnist`` or ``dataset: [mnist,
            fashion_mnist]`` gives it, with one sample shape and C classes in all.
        seed: Determines the order of the data sets if ``order`` is ``seeded``.
        setting: ``class``: C output units, with the task hidden. ``task``: the same units, with the task revealed.
            ``domain``: class i of every data set shares unit i, so that all data sets need the same number of classes.
        order: The order as ``given``, a random one (``seeded``), a list of all names, a file with one name a line, or
            ``{numpy: 1993}`` and ``{python: 1}`` as in ``split``.
        output: Which units compete: those ``seen`` so far, or ``all``.
        task_labels: Whether the task of a sample is revealed; by default only in the task setting.
        boundaries: Whether the strategy sees beginnings and ends of experiences.

    Raises:
        Refused: The data set is not joined from several and has no domains, or numbers of classes differ in the domain
            setting.

    Source: the "five data sets" sequence of Ebrahimi et al. 2020 (arXiv 2003.09553), section 5; settings after van de
    Ven et al. 2022, Nature Machine Intelligence 4, 1185.
    """
    shared = common(setting=setting, output=output, task_labels=task_labels, boundaries=boundaries)
    if len(dataset.origins) < 2 and dataset.domain_names:
        return _domains(dataset, seed, setting, order, shared)
    if len(dataset.origins) < 2:
        raise Refused(
            f"scenario 'sequence' needs several data sets, and {dataset.name!r} is one; write dataset: "
            "mnist+fashion_mnist, or dataset: [mnist, fashion_mnist], or name a column of domains: dataset: {name: "
            "..., group: COLUMN}"
        )
    count, names = len(dataset.origins), tuple(origin.name for origin in dataset.origins)
    places = in_order(names, seed, order, usual="given", what="data set", where=dataset.name)
    origins = tuple(dataset.origins[place] for place in places)
    label_map = _positions(dataset, origins) if setting == "domain" else None
    build = _Whole(dataset.train, origins, label_map, shared.boundaries)
    return Stream(
        name="sequence",
        dataset=dataset,
        tasks=tuple(
            own_task(t, origin.name, dataset.test, np.arange(*origin.test, dtype=np.int64), label_map)
            for t, origin in enumerate(origins)
        ),
        length=count,
        build=build,
        n_outputs=dataset.n_classes if label_map is None else int(label_map.max()) + 1,
        seed=seed,
        description={
            "scenario": "sequence",
            **shared.describe(),
            "order": order if order in ("given", "seeded") else "listed",
            "datasets": [[origin.name, *origin.train, *origin.classes] for origin in origins],
        },
        task_labels=shared.task_labels,
        label_map=label_map,
        output=shared.output,
    )


def _domains(dataset: Dataset, seed: int, setting: Setting, order: Any, shared: Common) -> Stream:
    """Return the stream of the domains of one data set."""
    made = by_group(
        dataset,
        seed,
        setting=setting,
        order="fixed" if order == "given" else order,
        output=shared.output,  # type: ignore[arg-type]
        task_labels=shared.task_labels,
        boundaries=shared.boundaries,
    )
    return replace(made, name="sequence", description={**made.description, "scenario": "sequence"})


@dataclass(frozen=True, eq=False)
class _Whole:
    """Build experience i: all training samples of the i-th data set."""

    train: Rows
    origins: tuple[Origin, ...]
    label_map: Index | None  # (T, C)
    boundary: bool

    def __call__(self, i: int) -> Experience:
        rows = np.arange(*self.origins[i].train, dtype=np.int64)  # (N,)
        return own_experience(i, self.train, rows, self.label_map, boundary=self.boundary)


def _positions(dataset: Dataset, origins: tuple[Origin, ...]) -> Index:
    """Return the position of each class within data set t, (T, C); -1 for classes of other data sets, which every loss
    refuses."""
    sizes = {origin.name: origin.classes[1] - origin.classes[0] for origin in origins}
    if len(set(sizes.values())) > 1:
        told = ", ".join(f"{name} has {size}" for name, size in sizes.items())
        raise Refused(
            f"the domain setting shares the output units and needs equal numbers of classes ({told}); choose setting = "
            "'class' or 'task', or other data sets",
            "setting",
        )
    label_map = np.full((len(origins), dataset.n_classes), -1, dtype=np.int64)
    for t, origin in enumerate(origins):
        label_map[t, slice(*origin.classes)] = np.arange(sizes[origin.name])
    return label_map
