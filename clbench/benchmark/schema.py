"""The schema of a benchmark file. Mistakes are reported with file, line and the nearest valid key."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import partial
from typing import Annotated, Any, ClassVar, Literal, TypeVar, get_args

from pydantic import AfterValidator, BeforeValidator, Field, ValidationError, model_validator

from clbench.benchmark import evaluation_schedules, lr_schedules, optimizer_names, rate_factors, reading_names
from clbench.benchmark.documents import Source
from clbench.benchmark.first_section import First
from clbench.benchmark.published_section import Published
from clbench.benchmark.section_base import Section
from clbench.benchmark.tuning_section import Tuning
from clbench.core.errors import Refused
from clbench.core.parameters import plain_words
from clbench.data.augment import check_augmentation

BRANCHES = ("int", "str", "float", "bool")
"""Names that pydantic uses for the branches of a union in the path of an error."""


class Stop(Section):
    """Set when an experience ends before its last pass, by its held-out samples.

    Args:
        patience: Passes in a row without improvement after which an experience ends.
        min_delta: The smallest improvement that counts, in units of ``monitor``.
        monitor: The ``loss`` on held-out samples, which should fall, or their ``score`` (accuracy, R²), which should
            rise.
        restore: Whether the experience ends with the weights of its best pass, or with those of its last.
    """

    patience: Annotated[int, Field(ge=1)] = 3
    min_delta: Annotated[float, Field(ge=0)] = 0.0
    monitor: Literal["loss", "score"] = "loss"
    restore: bool = True


class Training(Section):
    """Set how every strategy is trained.

    Args:
        optimizer: ``sgd``, ``adam`` or ``adamw``, as in ``torch.optim``; a name in
            ``clbench.benchmark.optimizer_names.OPTIMIZERS``; ``FILE.py:NAME``; or ``{name: {setting: value}}``.
        lr: Learning rate, above 0.
        momentum: Momentum of SGD, in [0, 1).
        weight_decay: Weight decay, at least 0.
        batch_size: Samples of the stream per step.
        epochs: Passes over each experience.
        iterations: Steps on each experience, instead of ``epochs``: passes are repeated until all steps are done.
        drop_last: Whether to leave out an incomplete last batch of a pass.
        threads: Threads of the process. The benchmark sets them, since they change sums of floats.
        augment: Random changes of training inputs: ``none``, ``crop-flip``, ...; the replay buffer keeps unchanged
            samples.
        optimizer_state: Whether momentum and moments are ``kept`` over visible boundaries or ``reset`` there.
        clip_norm: Largest Euclidean norm of the gradient; longer gradients are scaled down. ``None`` for no limit.
        lr_schedule: A name in ``clbench.benchmark.lr_schedules.LR_SCHEDULES``, or ``{name: {setting: value}}``. A
            schedule depends on experiences, so their boundaries must be visible.
        stop: Early stopping, ``{patience: 3, ...}`` (:class:`Stop`); ``None`` for none. ``epochs`` or ``iterations``
            are then the most that an experience gets. It needs ``stream.dataset.validation`` and visible boundaries.
        lr_scale: Factor of the learning rate for each kind of weights, ``{body: 0.01}``; ``body`` is all but the last
            layer. The change that a step makes is multiplied. ``None`` for 1 everywhere.
        first: What is different in the first experience, ``{epochs: 200, weight_decay: 5e-4}`` (:class:`First`). It
            needs visible boundaries. ``None`` for nothing.
        precision: ``float32``, or ``bfloat16`` for the matrix products and convolutions of every pass of the model, in
            training and evaluation; weights, gradients and losses stay float32.
        channels_last: Whether images pass the model stored channels last.
        accumulate: k, number of chunks in which a batch passes the model in a step; the gradients are added up.
        compile: Whether the pass of a step is compiled by ``torch.compile``; evaluations are not.
    """

    options: ClassVar[frozenset[str]] = frozenset(
        {
            "optimizer_state", "clip_norm", "lr_schedule", "stop", "lr_scale", "first",
            "precision", "channels_last", "accumulate", "compile",
        }
    )  # fmt: skip

    optimizer: Annotated[str | dict[str, Any], AfterValidator(optimizer_names.canonical)] = "sgd"
    lr: Annotated[float, Field(gt=0)] = 0.1
    momentum: Annotated[float, Field(ge=0, lt=1)] = 0.0
    weight_decay: Annotated[float, Field(ge=0)] = 0.0
    batch_size: Annotated[int, Field(ge=1)] = 32
    epochs: Annotated[int, Field(ge=1)] = 1
    iterations: Annotated[int, Field(ge=1)] | None = None
    drop_last: bool = False
    threads: Annotated[int, Field(ge=1)] = 1
    augment: Annotated[str, AfterValidator(check_augmentation)] = "none"
    optimizer_state: Literal["kept", "reset"] = "kept"
    clip_norm: Annotated[float, Field(gt=0)] | None = None
    lr_schedule: Annotated[str | dict[str, Any], AfterValidator(lr_schedules.canonical)] = "constant"
    stop: Stop | None = None
    lr_scale: Annotated[dict[str, float] | None, BeforeValidator(rate_factors.canonical)] = None
    first: First | None = None
    precision: Literal["float32", "bfloat16"] = "float32"
    channels_last: bool = False
    accumulate: Annotated[int, Field(ge=1)] = 1
    compile: bool = False

    @model_validator(mode="after")
    def _optimizer_takes_its_settings(self) -> Training:
        for each in (self, self.during(0)):
            optimizer_names.check_section(self.optimizer, weight_decay=each.weight_decay, momentum=each.momentum)
        return self

    @model_validator(mode="after")
    def _first_counts_as_the_others(self) -> Training:
        if self.first is not None and self.first.epochs is not None and self.iterations is not None:
            raise Refused(
                f"first.epochs = {self.first.epochs} counts passes, and iterations = {self.iterations} counts steps; "
                "set training.epochs and leave iterations out, or leave first.epochs out"
            )
        return self

    def canonical(self) -> dict[str, Any]:
        """Return all settings; ``first`` has only what differs from the other experiences."""
        written = super().canonical()
        if changes := {} if self.first is None else self.first.changes(self):
            return {**written, "first": changes}
        written.pop("first", None)
        return written

    def during(self, experience: int) -> Training:
        """Return the training of an experience, counted from 0: that of the first one may differ."""
        if self.first is None:
            return self
        changes = {} if experience else self.first.changes(self)
        return self.model_copy(update={**changes, "first": None})

    def over(self, experiences: int) -> Training:
        """Return the training of an experience that merges a number of the benchmark's; ``iterations`` add up."""
        if self.iterations is None or experiences == 1:
            return self
        return self.model_copy(update={"iterations": self.iterations * experiences})


class MemoryBudget(Section):
    """Set the size and policy of the replay buffer, equal for all strategies.

    Args:
        size: Number of samples; 0 for none.
        policy: Which samples stay: ``reservoir``, ``class_balanced``, ``class_quota`` (size / classes for each class
            from the start), ``greedy_balanced`` (classes share equally, first come, first kept), ``per_experience``
            (the last samples of each) or ``shrinking_herding`` (size // classes seen of each class, by herding at the
            ``end``).
        admit: When samples are offered: on the ``first_pass``, on ``every_pass``, or at the ``end`` of their experience
            if its boundary is visible.
    """

    size: Annotated[int, Field(ge=0)] = 0
    policy: Literal[
        "reservoir", "class_balanced", "class_quota", "greedy_balanced", "per_experience", "shrinking_herding"
    ] = "reservoir"
    admit: Literal["first_pass", "every_pass", "end"] = "first_pass"

    @model_validator(mode="after")
    def _herding_is_at_ends(self) -> MemoryBudget:
        if self.policy == "shrinking_herding" and self.admit != "end":
            raise ValueError(
                "policy shrinking_herding chooses among all samples of an experience at its end; set admit: end"
            )
        return self


class Evaluation(Section):
    """Set when evaluations take place, and what they measure.

    Args:
        every: Optimiser steps between evaluations; 0 evaluates only at the ends of experiences.
        tasks: The tasks to evaluate after a step: the tasks ``seen`` so far, ``all``, or the ``current`` ones, which
            have samples in the running experience. Evaluations at the start and at ends cover all tasks.
        rows_per_task: Evaluation samples of each task, fixed and stratified, or ``all``.
        schedule: ``every`` (at regular intervals), ``dense`` after switches, only at ``ends``, or ``{at: [..]}``; see
            ``clbench.benchmark.evaluation_schedules``.
        masked: Whether to record the accuracy among the task's own classes too.
        classes: Whether to record the accuracy of each output unit too.
        precision: Precision of matrix products in evaluations. ``bfloat16`` is meant for GPUs, and it changes scores.
        probe: Optimiser steps between probes of the gradient (``clbench.training.gradient_probe``), 0 for none, or a
            schedule of steps as in ``schedule``: ``dense`` after switches, or ``{at: [..]}``.
        readings: What to read inside the network, such as ``[fau, {dormant: {tau: 0.1}}]``; names are in
            ``clbench.readings.READINGS``.
        reading_schedule: When to take readings besides the start and the ends of experiences, as in ``schedule``;
            ``every`` follows the setting ``every`` and needs ``schedule: every``.
    """

    options: ClassVar[frozenset[str]] = frozenset(
        {"probe", "schedule", "masked", "classes", "precision", "readings", "reading_schedule"}
    )

    every: Annotated[int, Field(ge=0)] = 1
    tasks: Literal["seen", "all", "current"] = "seen"
    rows_per_task: Annotated[int, Field(ge=1)] | Literal["all"] = "all"
    probe: Annotated[int | str | dict[str, Any], BeforeValidator(evaluation_schedules.probing)] = 0
    schedule: Annotated[str | dict[str, Any], AfterValidator(evaluation_schedules.canonical)] = "every"
    masked: bool = False
    classes: bool = False
    precision: Literal["float32", "bfloat16"] = "float32"
    readings: Annotated[list[str | dict[str, Any]], AfterValidator(reading_names.canonical)] = Field(
        default_factory=list
    )
    reading_schedule: Annotated[
        str | dict[str, Any],
        AfterValidator(partial(evaluation_schedules.canonical, where="evaluation.reading_schedule")),
    ] = "ends"

    @model_validator(mode="after")
    def _readings_have_a_schedule(self) -> Evaluation:
        if self.reading_schedule != "ends" and not self.readings:
            raise Refused(
                "evaluation.reading_schedule is set without evaluation.readings; name readings, or leave it out"
            )
        if self.reading_schedule == "every" and (self.schedule != "every" or not self.every):
            raise Refused(
                "evaluation.reading_schedule = every follows evaluation.every, which is not used here; set "
                "evaluation.every without evaluation.schedule, or choose ends, dense or {at: [1, 10, 100]}"
            )
        return self

    def canonical(self) -> dict[str, Any]:
        """Return all settings; ``every`` is 0 if it has no effect, and ``ends`` needs no other setting."""
        if self.schedule == "every":
            return super().canonical()
        written = {**super().canonical(), "every": 0}
        if self.schedule == "ends":
            del written["schedule"]
        return written


S = TypeVar("S", bound=Section)


def section(kind: type[S], where: str, settings: Mapping[str, Any], *, called: Mapping[str, str] | None = None) -> S:
    """Return a section of settings that a program gives as arguments.

    Args:
        kind: The section.
        where: What the arguments belong to, for messages.
        settings: Name in the section -> value.
        called: Name in the section -> the argument's name, if it differs.

    Raises:
        Refused: A value that is not allowed.
    """
    try:
        return kind(**settings)
    except ValidationError as error:
        first = error.errors()[0]
        name = str(first["loc"][0])
        raise Refused(
            f"{where}: {(called or {}).get(name, name)} = {settings.get(name)!r} is not allowed: "
            f"{plain_words(first['msg'], first['input'])}",
            name,
        ) from None


class Benchmark(Section):
    """Describe a benchmark file.

    ``stream`` and ``model`` are checked against the settings of their scenario and model. ``reveal`` lists what
    strategies may know although streams in practice do not reveal it: the ``length`` of the stream. A value in
    ``defaults`` may differ between settings; see :func:`defaults_of`. ``tuning`` lets runs choose settings themselves.
    ``published`` holds numbers that others report; they are shown beside results and enter no cell.
    """

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$")]
    version: Annotated[int, Field(ge=1)] = 1
    stream: dict[str, Any]
    model: dict[str, Any]
    training: Training = Training()
    memory: MemoryBudget = MemoryBudget()
    evaluation: Evaluation = Evaluation()
    tuning: Tuning | None = None
    reveal: list[Literal["length"]] = Field(default_factory=list)
    defaults: dict[str, dict[str, Any]] = Field(default_factory=dict)
    strategies: list[str | dict[str, Any] | list[Any]] = Field(["naive"], min_length=1)
    seeds: int | list[int] = 5
    published: list[Published] = Field(default_factory=list)


SETTINGS = frozenset({"class", "task", "domain"})


def defaults_of(benchmark: Benchmark) -> dict[str, dict[str, Any]]:
    """Return a benchmark's values for parameters without a published default, by strategy, for its own setting.

    A value may be given for each setting, as in ``{class: 1e9, task: 1e5}``. For a setting that is not listed the
    parameter has no value.
    """
    setting, found = benchmark.stream.get("setting", "class"), {}
    for strategy, values in benchmark.defaults.items():
        chosen = {
            name: value[setting] if _by_setting(value) else value
            for name, value in values.items()
            if not _by_setting(value) or setting in value
        }
        found[strategy] = chosen
    return found


def _by_setting(value: Any) -> bool:
    return isinstance(value, Mapping) and bool(value) and SETTINGS.issuperset(value)


EXAMPLES = {
    "name": ", like name: my-benchmark",
    "stream": ", like stream: {scenario: split, dataset: digits}",
    "model": ", like model: {name: mlp}",
}
"""What may stand for a key that is missing."""
USUAL = {
    "training.stop": "patience",
    "training.first": "epochs",
    "stream": "scenario",
    "model": "name",
    "training": "lr",
    "memory": "size",
    "evaluation": "every",
    "tuning": "protocol",
}
"""The setting of a section that is meant if the section is written as one value."""


def check(document: Mapping[str, Any], source: Source) -> Benchmark:
    """Check a parsed document, and return its benchmark.

    Raises:
        Refused: A key is unknown or missing, or a value has a wrong type; the message gives line and nearest valid key.
    """
    try:
        return Benchmark.model_validate(document)
    except ValidationError as error:
        first = error.errors()[0]
        path = [step for step in first["loc"] if step not in BRANCHES and not str(step).startswith(("list[", "dict["))]
        key = ".".join(str(step) for step in path)
        if first["type"] == "extra_forbidden":
            from clbench.benchmark.setting_names import hint

            told = hint(key, _fields(path[:-1]), document, Benchmark)
            raise Refused(f"{source.place(path)}: unknown key {key!r}; {told}") from None
        if first["type"] == "missing":
            raise Refused(f"{source.place(path)}: the key {key!r} is missing; add it{EXAMPLES.get(key, '')}") from None
        if first["type"] in ("model_type", "dict_type") and key in USUAL:
            usual, value = USUAL[key], first["input"]
            raise Refused(
                f"{source.place(path)}: {key} = {value!r} is not allowed: {key} is a section; write {key}: {{{usual}: "
                f"{value}}} in a file, or --set {key}.{usual}={value}"
            ) from None
        message = plain_words(first["msg"], first["input"])
        raise Refused(f"{source.place(path)}: {key} = {first['input']!r} is not allowed: {message}") from None


def _fields(path: Iterable[Any]) -> list[str]:
    """Return the keys of the section at a path of keys, such as ``("training", "stop")``."""
    section: Any = Benchmark
    for step in path:
        if isinstance(step, int):
            continue  # an entry of a list of sections
        kinds = [section.model_fields[str(step)].annotation]
        kinds += get_args(kinds[0])
        section = next((kind for kind in kinds if isinstance(kind, type) and issubclass(kind, Section)), Section)
    return list(section.model_fields)
