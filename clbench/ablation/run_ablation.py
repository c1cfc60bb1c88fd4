"""The runs of an ablation: what is compared with what, on which cells."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from clbench.ablation.arms import Arm, arm, equal_form_arm, identity_arm
from clbench.ablation.loss_forms import MeasuredForm, loss_form
from clbench.ablation.rate_search import FACTORS, SEARCHED_BY, Found, Protocol, at_rate, close_calls, protocol, search
from clbench.ablation.shares import Ablation, Compared
from clbench.benchmark import schema
from clbench.benchmark.assignments import Assignment
from clbench.benchmark.sections import describe_dataset
from clbench.core.errors import Refused
from clbench.core.identity import describe_model
from clbench.core.measure import ACCURACY
from clbench.core.record import Record
from clbench.core.types import Dataset
from clbench.metrics import get as get_metric
from clbench.running.execution import choose_device, data_and_settings, execute_plan, path_text, records_of
from clbench.running.executors import Event, ignore
from clbench.running.placement import device_names
from clbench.running.plan import make_stream
from clbench.running.plan import plan as make_plan
from clbench.running.progress import both, shown_progress
from clbench.running.user_objects import UserObjects
from clbench.strategies.notation import Written
from clbench.strategies.strategy import Strategy
from clbench.tuning.protocols import HELD_OUT

SEARCH, FORMS = "search", "forms"
"""Folders of a result directory: for the records of the search, and in it for measured forms of losses."""


def ablate(
    strategy: Written,
    *,
    against: Written = "er",
    benchmark: str | Path | Mapping[str, Any] = "split-digits",
    control: Written | None = None,
    metric: str = "acc",
    seeds: int | str | Iterable[int] | None = None,
    search_on: str = "first:3",
    factors: Sequence[float] = FACTORS,
    overrides: Mapping[str, Any] | Iterable[Assignment] = (),
    dataset: Any = None,
    model: Any = None,
    out: str | Path | None = None,
    jobs: int | str = 1,
    device: str = "cpu",
    data_dir: str | Path | None = None,
    isolated: bool = False,
    progress: bool | None = None,
    watch: Callable[[str, int, Event], None] | None = None,
) -> Ablation:
    """Measure how much of the difference between a strategy and a baseline is due to its idea.

    All arms run on equal streams, paired by seed: the strategy, the strategy at its declared identity (or a control
    that the user names), the baseline, and the baseline with the strategy's loss form. Each runs at the benchmark's
    learning rate and at its own best one of a small search, which uses held-out training samples of the first
    experiences and seeds of its own, never test samples.

    Args:
        strategy: The strategy as in a benchmark: ``"er + mine(strength=1)"``, ``"FILE.py:NAME"``, a mapping or a list.
        against: The baseline, likewise.
        benchmark: A shipped name, the path of a benchmark file, or a mapping of its content.
        control: The strategy with its idea switched off, instead of its declared identity: ``"mine(power=0)"``.
        metric: Name of the metric to compare.
        seeds: Seeds of the comparison instead of the benchmark's.
        search_on: What the learning rates are chosen on: ``first:K`` for the first K experiences.
        factors: The first learning rates of the search, as multiples of the benchmark's.
        overrides: Settings of the benchmark, as in :func:`clbench.run`.
        dataset: Own data instead of the benchmark's, as in :func:`clbench.run`.
        model: A model instead of the benchmark's, likewise.
        out: Result directory; cells that are finished there are not run again. ``None`` keeps nothing.
        jobs: Number of cells at a time, or ``"auto"``.
        device: ``"cpu"``, ``"cuda"`` or ``"auto"``.
        data_dir: The directory of data sets.
        isolated: Whether to run cells in worker processes with one job too.
        progress: Whether to show the progress of search and comparison, as in :func:`clbench.run`; by default only in
            a notebook.
        watch: A function that is called with ``"search"`` or ``"comparison"``, the number of cells, and every event.

    Returns:
        Arms, effects with paired 95 % intervals, and the result in one sentence; ``print`` shows them.

    Raises:
        Refused: A setting is wrong, a cell of the search failed, or an arm has no finished seed.
    """
    own, settings = data_and_settings(dataset, overrides)
    given = UserObjects(dataset=own, model=model)
    replaced: dict[str, Any] = {
        "dataset": None if own is None else describe_dataset(own),
        "model": None if model is None else describe_model(model),
        "data_dir": data_dir,
    }
    where = None if out is None else Path(out).expanduser().absolute()
    get_metric(metric)
    options: dict[str, Any] = {
        "jobs": jobs, "device": device, "data_dir": data_dir, "given": given, "isolated": isolated
    }  # fmt: skip
    ours, base = arm("strategy", strategy), arm("baseline", against)
    compared: Any = [strategy, against]
    checked = make_plan(benchmark, strategies=compared, seeds=seeds, overrides=settings, **replaced)
    defaults = schema.defaults_of(checked.benchmark)
    if Strategy.parse(strategy, defaults) == Strategy.parse(against, defaults):
        raise Refused(f"the strategy and the baseline are both {ours.label}; name two different ones")
    config, lr = checked.cells[0].config, checked.benchmark.training.lr
    seed_list = tuple(dict.fromkeys(cell.seed for cell in checked.cells))
    how = _fitting(protocol(search_on, seed_list, factors), config["stream"], data_dir, own)
    legal = [*settings, *how.overrides(config["stream"]).items()]

    def planned(entries: Sequence[Any], chosen: Sequence[int], changes: Sequence[Assignment]) -> Any:
        return make_plan(benchmark, strategies=entries, seeds=chosen, overrides=changes, **replaced)

    def form_of(which: Arm) -> MeasuredForm | None:
        cell = planned([{"strategy": which.written, "label": which.label}], how.seeds[:1], legal).cells[0]
        kept = None if where is None else where / SEARCH / FORMS
        return loss_form(
            cell, data_dir=path_text(data_dir), device=choose_device(device_names(device)[0]), kept=kept, given=given
        )

    arms, forms, control_role, notes = _arms(ours, base, control, strategy, against, defaults, form_of)
    arms = _same_cells(arms, defaults)

    def run(stage: str, entries: Sequence[Any], chosen: Sequence[int], changes: Sequence[Assignment]) -> list[Record]:
        made = planned(entries, chosen, changes)
        folder = where if where is None or stage == "comparison" else where / SEARCH
        heard = ignore if watch is None else lambda event: watch(stage, len(made.cells), event)
        there = records_of(made, folder, None, data_dir=data_dir, given=given)
        with shown_progress(progress, len(made.cells), len(there.known)) as show:
            return execute_plan(made, out=folder, watch=both(show, heard), found=there, **options).records

    found = search(arms, lr, how, lambda entries: run(SEARCH, entries, how.seeds, legal))
    entries = [{"strategy": each.written, "label": each.label} for each in arms]
    entries += [at_rate(each.written, each.label, found[each.label].lr) for each in arms if found[each.label].lr != lr]
    records = run("comparison", entries, seed_list, settings)
    values, kept_seeds, more = _values(records, arms, found, lr, metric, seed_list)
    measure = next((r.trace.measure for r in records if r.trace is not None), ACCURACY)
    return Ablation(
        benchmark=f"{checked.benchmark.name}@{checked.benchmark.version}",
        metric=metric,
        measure=measure,
        lr=lr,
        seeds=kept_seeds,
        arms=tuple(Compared(a.role, a.label, found[a.label].lr, found[a.label].at_end, *values[a.label]) for a in arms),
        control=control_role,
        forms=forms,
        search=_told(how, config["stream"]),
        notes=(*notes, *close_calls(found), *more),
    )


def _arms(
    ours: Arm,
    base: Arm,
    control: Written | None,
    strategy: Written,
    against: Written,
    defaults: Mapping[str, Mapping[str, Any]],
    form_of: Callable[[Arm], MeasuredForm | None],
) -> tuple[list[Arm], dict[str, MeasuredForm], str, list[str]]:
    """Return the arms, their loss forms, the role of the arm that the idea is compared with, and notes."""
    notes: list[str] = []
    measured = {each.role: form for each in (ours, base) if (form := form_of(each)) is not None}
    equal = base
    if len(measured) == 2:
        equal = equal_form_arm(against, measured["strategy"], measured["baseline"], defaults)
        if measured["strategy"].same(measured["baseline"]):
            notes.append("the loss of the strategy and that of the baseline have the same form")
        elif equal.label == base.label:
            notes.append(
                "one of the two rehearses and the other does not, so that there is no baseline at equal loss form"
            )
    else:
        missing = next(each.label for each in (ours, base) if each.role not in measured)
        notes.append(f"{missing} makes its own step, so that there is no baseline at equal loss form")
    arms = [ours, base] + [equal] * (equal.label != base.label)
    nearest = "equal form" if equal.label != base.label else "baseline"
    if control is not None:
        own = arm("control", control)
        return [ours, own, *arms[1:]], measured, "control", notes
    identity, why = identity_arm(strategy, against, defaults)
    if identity is None:
        return arms, measured, nearest, [*notes, f"no identity: {why}; name the strategy without its idea by --control"]
    form = form_of(identity)
    if form is not None:
        measured["identity"] = form
    if form is not None and "strategy" in measured and form.same(measured["strategy"]):
        return [ours, identity, *arms[1:]], measured, "identity", notes
    notes.append(
        "the identity has another loss form than the strategy, so that the idea is compared with the "
        + ("baseline at equal loss form" if nearest == "equal form" else "baseline")
        + "; if another setting switches off the idea alone, name it by --control"
    )
    return [ours, identity, *arms[1:]], measured, nearest, notes


def _same_cells(arms: Sequence[Arm], defaults: Mapping[str, Mapping[str, Any]]) -> list[Arm]:
    """Return the arms; one that is an earlier one, written differently, has the label of that."""
    made: list[Arm] = []
    for each in arms:
        parsed = Strategy.parse(each.written, defaults)
        first = next((other for other in made if Strategy.parse(other.written, defaults) == parsed), each)
        made.append(replace(each, label=first.label, written=first.written))
    return made


def _fitting(
    how: Protocol, stream: Mapping[str, Any], data_dir: str | Path | None, dataset: Dataset | None
) -> Protocol:
    """Return the protocol with no more experiences than the stream has."""
    length = len(make_stream(stream, how.seeds[0], data_dir=path_text(data_dir), dataset=dataset))
    return Protocol(min(how.experiences, length), how.seeds, how.factors)


def _values(
    records: Sequence[Record],
    arms: Sequence[Arm],
    found: Mapping[str, Found],
    lr: float,
    metric: str,
    seeds: Sequence[int],
) -> tuple[dict[str, tuple[tuple[float, ...], tuple[float, ...]]], tuple[int, ...], list[str]]:
    """Return the metric of each arm at both learning rates over the seeds that all have finished, and notes."""
    known: dict[tuple[str, float, int], float] = {}
    prints: dict[int, set[str]] = {}
    problems: list[str] = []
    labels = {at: each.label for each in arms for at in (each.label, f"{each.label} [lr={found[each.label].lr:g}]")}
    for record in records:
        label = labels[record.label]
        value = get_metric(metric)(record.trace) if record.trace is not None and record.status == "done" else None
        if value is not None and value.defined:
            known[label, record.cell["training"]["lr"], record.seed] = value.value
            prints.setdefault(record.seed, set()).add(record.fingerprint)
        else:
            why = record.reason if value is None else value.reason
            problems.append(f"{record.label}, seed {record.seed}: {record.status if value is None else metric}: {why}")
    places = [(each.label, rate) for each in arms for rate in (lr, found[each.label].lr)]
    kept = tuple(seed for seed in seeds if all((*place, seed) in known for place in places))
    if not kept:
        raise Refused(f"no seed is finished for every arm, so nothing can be compared; the first reason: {problems[0]}")
    notes = [f"left out: {', '.join(str(s) for s in seeds if s not in kept)}, since {problems[0]}"] if problems else []
    if any(len(prints[seed]) > 1 for seed in kept):
        notes.append("an arm trains on another stream (upper bounds do), so that the arms are not paired")
    values = {
        label: (
            tuple(known[label, lr, seed] for seed in kept),
            tuple(known[label, found[label].lr, seed] for seed in kept),
        )
        for label in (each.label for each in arms)
    }
    return values, kept, notes


def _told(how: Protocol, stream: Mapping[str, Any]) -> str:
    share = stream["dataset"].get("validation") or HELD_OUT
    return (
        f"learning rates were chosen by {SEARCHED_BY} on {share:.0%} of the training samples, held out, of the first "
        f"{how.experiences} experiences ({how.name}), on seeds {' and '.join(map(str, how.seeds))}; no test sample was "
        "used"
    )
