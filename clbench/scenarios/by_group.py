"""By group: the samples of one domain after another, such as hospitals, machines, users or years."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from clbench import families
from clbench.core.errors import Refused
from clbench.core.types import Dataset, Experience, Index, Rows, Stream
from clbench.scenarios.class_groups import Order, in_order
from clbench.scenarios.shared_settings import Output, Setting, common, own_experience, own_task


def by_group(
    dataset: Dataset,
    seed: int,
    *,
    setting: Setting = "domain",
    order: Order = "fixed",
    output: Output = "seen",
    task_labels: bool | None = None,
    boundaries: bool = True,
) -> Stream:
    """Generate a stream in which every experience holds the samples of one domain, and is one task.

    The domains are the values of the column ``group`` of the data set, G of them. Every training sample occurs exactly
    once.

    Args:
        dataset: A data set with domains, such as ``{name: "csv:visits.csv", label: ill, group: hospital}``, with C
            classes.
        seed: Determines the order of the domains if ``order`` is ``seeded``.
        setting: ``domain``: the same C output units throughout. ``task`` and ``class``: C units for each domain, G * C
            in all, with the task revealed or hidden.
        order: The order of the domains: ascending (``fixed``: numbers by value, texts by the alphabet), random
            (``seeded``), a list of all of them, a file with one name a line, or ``{numpy: 1993}`` and ``{python: 1}``
            as in ``split``.
        output: Which units compete: those ``seen`` so far, or ``all``.
        task_labels: Whether the task of a sample is revealed; by default only in the task setting.
        boundaries: Whether the strategy sees beginnings and ends of experiences.

    In a data set of numbers all tasks share their outputs (``setting: domain``).

    Raises:
        Refused: The data set has no domains, or only one, or the order does not name all of them once.

    Source: the domain-incremental setting of van de Ven et al. 2022, Nature Machine Intelligence 4, 1185.
    """
    shared = common(setting=setting, output=output, task_labels=task_labels, boundaries=boundaries)
    train, test, names = dataset.train, dataset.test, dataset.domain_names
    if train.domain is None or test.domain is None:
        raise Refused(
            f"scenario 'by_group' needs a data set with a column of groups, and {dataset.name!r} has none; name it in "
            "the data set: dataset: {name: 'csv:FILE', group: COLUMN}",
            "dataset",
        )
    if len(names) < 2:
        raise Refused(
            f"scenario 'by_group' makes an experience of each group, and {dataset.name!r} has one ({names[0]}); name "
            "another column"
        )
    places = in_order(names, seed, order, usual="fixed", what="group", where=dataset.name)  # (G,)
    classes, label_map = dataset.n_classes, None
    if shared.setting != "domain" and families.of(dataset).has_classes:
        label_map = np.arange(len(places) * classes, dtype=np.int64).reshape(len(places), classes)  # (G, C)
    build = _Domain(train, places, label_map, shared.boundaries)
    tasks = tuple(
        own_task(t, names[place], test, np.flatnonzero(test.domain == place), label_map)
        for t, place in enumerate(places)
    )
    return Stream(
        name="by_group",
        dataset=dataset,
        tasks=tasks,
        length=len(places),
        build=build,
        n_outputs=classes if label_map is None else label_map.size,
        seed=seed,
        description={
            "scenario": "by_group",
            **shared.describe(),
            "order": order if order in ("fixed", "seeded") else "given",
            "groups": [names[place] for place in places],
        },
        task_labels=shared.task_labels,
        label_map=label_map,
        output=shared.output,
    )


@dataclass(frozen=True, eq=False)
class _Domain:
    """Build experience i: the training samples of the i-th domain."""

    train: Rows
    places: Index  # (G,)
    label_map: Index | None  # (G, C)
    boundary: bool

    def __call__(self, i: int) -> Experience:
        assert self.train.domain is not None
        rows = np.flatnonzero(self.train.domain == self.places[i])  # (N,)
        return own_experience(i, self.train, rows, self.label_map, boundary=self.boundary)
