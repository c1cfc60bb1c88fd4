"""The runs of a search for settings: which cells they are, and the file with the answer."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from clbench import families
from clbench.benchmark import documents, schema
from clbench.benchmark.assignments import Assignment
from clbench.benchmark.assignments import seeds as read_seeds
from clbench.benchmark.sections import describe_dataset
from clbench.benchmark.shipped_files import find
from clbench.benchmark.tuned_settings import TunedSettings, TunedStrategy
from clbench.core.errors import Refused
from clbench.core.identity import describe_model
from clbench.core.record import Record
from clbench.core.search_space import Search, parse_space
from clbench.core.store import write_or_refuse
from clbench.core.types import Stream
from clbench.metrics import get as get_metric
from clbench.metrics.metric import Metric
from clbench.running.cell_key import Cell
from clbench.running.execution import Strategy, data_and_settings, execute_plan, split_strategies
from clbench.running.executors import Event, ignore
from clbench.running.executors.kept_workers import workers_kept
from clbench.running.plan import Plan, make_stream
from clbench.running.plan import plan as make_plan
from clbench.running.plan_files import plan_name, write_plan
from clbench.running.user_objects import UserObjects
from clbench.strategies.knobs import spaces_of
from clbench.strategies.stability_knobs import starts_within
from clbench.tuning.choice import CLOSE, Trial, remarks
from clbench.tuning.effort import spent, stream_steps
from clbench.tuning.other_stream import check_nothing_shared
from clbench.tuning.proposals import Proposals, Values, check_sampler
from clbench.tuning.protocols import Protocol, check_seeds, own_seeds, read_protocol
from clbench.tuning.study import Study

TRIALS = 24
"""Number of trials of each strategy."""
FILE = "tuned.yaml"
"""Name of the file with the answer, in the folder of the search."""
WITH_ENDS = "evaluations at ends"
"""Beginning of what metrics need that are computed from evaluations at the ends of experiences."""


@dataclass(frozen=True)
class Tuned:
    """Hold the answer of a search.

    Args:
        settings: The tuned settings, as :func:`clbench.run` takes them by ``tuned=``.
        trials: Strategy -> its trials in order, the one without tuning first.
        path: The file with the answer; ``None`` if nothing is kept.
    """

    settings: TunedSettings
    trials: Mapping[str, tuple[Trial, ...]]
    path: Path | None = None

    @property
    def text(self) -> str:
        """Return the content of the file."""
        return self.settings.text

    def __repr__(self) -> str:
        told = {name: each.values for name, each in self.settings.strategies.items()}
        return f"Tuned({self.settings.benchmark}: {told})"


def tune(
    benchmark: str | Path | Mapping[str, Any],
    *,
    strategies: str | Sequence[Strategy],
    protocol: str = "first:1",
    trials: int = TRIALS,
    seeds: int | str | Iterable[int] | None = None,
    space: str | Iterable[str] = (),
    metric: str = "acc",
    sampler: str = "tpe",
    seed: int = 0,
    overrides: Mapping[str, Any] | Iterable[Assignment] = (),
    dataset: Any = None,
    model: Any = None,
    out: str | Path | None = None,
    jobs: int | str = 1,
    device: str = "cpu",
    data_dir: str | Path | None = None,
    isolated: bool = False,
    executor: str | None = None,
    watch: Callable[[str, Event], None] | None = None,
) -> Tuned:
    """Search the free settings of strategies on samples that the protocol allows, never on test samples of the stream.

    A trial is a cell for each seed, in ``out`` as in any result directory: finished ones are not run again, and several
    processes may work on one search. The answer depends on nothing but the arguments, not on ``jobs`` or interruptions.

    Args:
        benchmark: A shipped name, the path of a benchmark file, or a mapping of its content.
        strategies: The strategies: ``"ewc, er + refresh"`` or a list. Values that are written are kept.
        protocol: What the search may see: ``"first:K"``, ``"other:BENCHMARK"``, ``"end"``, or ``"chf"`` for settings
            that every run chooses itself.
        trials: Number of trials of each strategy, at least 2; the first one has the values without tuning.
        seeds: Seeds of the trials, none of which is a seed of the benchmark; 100 and 101 by default.
        space: Ranges instead of the declared ones, and of further settings:
            ``"ewc.strength=1e-2:1e4:log, training.lr=1e-3:1:log, er.rows=8|16"``.
        metric: Name of the metric to improve.
        sampler: ``"tpe"``, ``"qmc"`` or ``"random"``.
        seed: Seed of the proposals.
        overrides: Settings of the benchmark, as in :func:`clbench.run`.
        dataset: Own data instead of the benchmark's, as in :func:`clbench.run`.
        model: A model instead of the benchmark's, likewise.
        out: Result directory for the trials and for the answer, ``tuned.yaml``; ``None`` keeps nothing.
        jobs: Number of cells at a time, or ``"auto"``.
        device: ``"cpu"``, ``"cuda"`` or ``"auto"``.
        data_dir: The directory of data sets.
        isolated: Whether to run cells in worker processes with one job too.
        executor: Name of the executor of the cells, as in :func:`clbench.run`.
        watch: A function that is called with a text about the progress and every event.

    Returns:
        The tuned settings, for ``clbench.run(..., tuned=...)``.

    Raises:
        Refused: A setting is wrong, the protocol is not possible with this stream, or no trial has a score.
    """
    how, measured = read_protocol(protocol), _metric(metric)
    check_sampler(sampler)
    if not isinstance(trials, int) or trials < 2:
        raise Refused(f"trials = {trials!r} is not possible; give a number from 2")
    own, settings = data_and_settings(dataset, overrides)
    replaced: dict[str, Any] = {
        "dataset": None if own is None else describe_dataset(own),
        "model": None if model is None else describe_model(model),
        "data_dir": data_dir,
    }
    where = None if out is None else Path(out).expanduser().absolute()
    written = _distinct(split_strategies(strategies) or [])
    checked = make_plan(benchmark, seeds=None, strategies=["naive"], overrides=settings, **replaced)
    listed = spaces_of(written, checked.benchmark, parse_space(space))
    name = checked.benchmark.name
    reported = [cell.seed for cell in checked.cells]
    chosen = read_seeds(seeds) if seeds is not None else list(own_seeds(reported))
    check_seeds(chosen, reported, name)
    config = checked.cells[0].config
    stream = make_stream(config["stream"], reported[0], data_dir=checked.data_dir, dataset=own)
    how.check(len(stream), name)
    title = f"{name}@{checked.benchmark.version}"
    if not how.kind.searches:
        return _routed(title, written, parse_space(space), schema.defaults_of(checked.benchmark), how, settings, where)
    changed = [*settings, *_changes(how, checked, replaced, own, measured)]

    def planned(entry: Any) -> Plan:
        return make_plan(benchmark, strategies=[entry], seeds=chosen, overrides=changed, **replaced)

    probe = planned("naive").cells[0]
    trial_stream = make_stream(probe.config["stream"], chosen[0], data_dir=checked.data_dir, dataset=own)
    if how.benchmark:
        check_nothing_shared(stream, trial_stream, name, how.benchmark)
    studies = [
        Study(each, knobs, Proposals(knobs, sampler=sampler, seed=seed), trials=trials, metric=measured)
        for each, knobs in zip(written, listed, strict=True)
    ]
    options: dict[str, Any] = {
        "jobs": jobs, "device": device, "data_dir": data_dir, "isolated": isolated, "executor": executor,
        "given": UserObjects(dataset=own, model=model),
    }  # fmt: skip

    asked: dict[str, Cell] = {}  # of the whole search, which has one plan
    began: list[str] = []  # the name of this plan

    def run(wanted: Sequence[tuple[Study, Values]], told: str) -> list[Trial]:
        plans = [planned(study.entry(values)) for study, values in wanted]
        cells = {cell.key: cell for each in plans for cell in each.cells}
        if not cells:
            return []
        whole = replace(plans[0], cells=list(cells.values()))
        heard = ignore if watch is None else lambda event: watch(told, event)
        asked.update(cells)
        began.append(plan_name(cells))

        def begin(folder: Path) -> None:
            write_plan(replace(whole, cells=list(asked.values())), folder, name=began[0])

        found: dict[str, Record] = {
            r.key: r for r in execute_plan(whole, out=where, watch=heard, begin=begin, **options).records
        }
        return [
            study.trial(values, [found[cell.key] for cell in each.cells])
            for (study, values), each in zip(wanted, plans, strict=True)
        ]

    with workers_kept():
        leaders = _search(studies, run)
    context = {
        "protocol": how.name, "benchmark": title, "seeds": chosen, "metric": metric, "sampler": sampler, "seed": seed,
    }  # fmt: skip
    efforts = (stream_steps(trial_stream, probe.config), stream_steps(stream, config))
    answers = {
        study.label: _answer(study, leader, context, how, efforts, _close(measured, stream))
        for study, leader in zip(studies, leaders, strict=True)
    }
    tuned = TunedSettings(title, answers, _as_settings(settings))
    path = None if where is None else where / FILE
    if path is not None:
        write_or_refuse(path, tuned.text.encode())
    return Tuned(tuned, {study.label: (*study.trials, *study.checks) for study in studies}, path)


def _distinct(written: Sequence[Strategy]) -> list[Strategy]:
    """Return strategies without those that are written a second time: a search of them would be the same."""
    found: list[Strategy] = []
    for each in written:
        if each not in found:
            found.append(each)
    return found


def _search(studies: Sequence[Study], run: Callable[[Sequence[tuple[Study, Values]], str], list[Trial]]) -> list[Trial]:
    """Run all trials of some studies, a batch of each at a time, and return the trial from which the checks went
    out."""
    while any(not study.is_complete for study in studies):
        wanted = [(study, values) for study in studies if not study.is_complete for values in study.ask()]
        done = sum(len(study.trials) for study in studies)
        found = run(wanted, f"trials {done + 1} to {done + len(wanted)} of {sum(study.most for study in studies)}")
        for study in studies:
            own = [trial for (each, _), trial in zip(wanted, found, strict=True) if each is study]
            if own:
                study.tell(own)
    leaders = [study.leader for study in studies]
    wanted = [(study, values) for study in studies for values in study.to_check()]
    for (study, _), trial in zip(wanted, run(wanted, "which settings act"), strict=True):
        study.checks.append(trial)
    return leaders


def _answer(
    study: Study,
    leader: Trial,
    context: Mapping[str, Any],
    how: Protocol,
    efforts: tuple[int, int],
    close: float | None,
) -> TunedStrategy:
    """Return the settings of one strategy and how they were found."""
    from clbench import __version__

    chosen, without = study.leader, study.idle_places(leader)
    values, trials = study.settled(chosen, without), [*study.trials, *study.checks]
    first = study.trials[0]
    effort = spent(sum(study.steps.values()), first=first.steps / len(first.scores), trial=efforts[0], run=efforts[1])
    tuning: dict[str, Any] = {"protocol": how.name}
    if not how.kind.available:
        tuning["available"] = False
    tuning |= {"trials": len(study.trials)} | ({"checks": len(study.checks)} if study.checks else {})
    tuning |= {
        "spent": effort, "seeds": context["seeds"], "metric": context["metric"], "sampler": context["sampler"],
        "seed": context["seed"], "score": round(chosen.mean, 6),
        **({} if first.problem else {"untuned": round(first.mean, 6)}),
        "study": study.identity(context), "clbench": __version__,
    }  # fmt: skip
    defaults: dict[str, dict[str, Any]] = {}
    training: dict[str, Any] = {}
    for place, value in values.items():
        owner, _, setting = place.rpartition(".")
        if owner == "training":
            training[setting] = value
        else:
            defaults.setdefault(owner, {})[setting] = value
    notes = remarks(chosen, trials, study.knobs, without, close=close)
    return TunedStrategy(defaults=defaults, training=training, tuning=tuning, notes=tuple(notes))


def _metric(name: str) -> Metric:
    """Return the metric to improve.

    Raises:
        Refused: It does not exist, or a better value does not mean a better strategy.
    """
    found = get_metric(name)
    if found.higher_is_better is None or not found.comparable:
        raise Refused(
            f"metric {name} cannot be improved by a search: a better value alone does not mean a better strategy; "
            "choose another, such as acc"
        )
    if found.reference:
        raise Refused(
            f"metric {name} compares with a joint run, which a search does not have; choose another, such as acc"
        )
    return found


def _close(metric: Metric, stream: Stream) -> float | None:
    """Return the difference that hardly separates two trials, for metrics that people read in percent."""
    return CLOSE if metric.in_percent() and families.of(stream.dataset).has_classes else None


def _changes(
    how: Protocol,
    checked: Plan,
    replaced: Mapping[str, Any],
    own: Any,
    metric: Metric,
) -> list[tuple[str, Any]]:
    """Return the settings that make the cells of the benchmark those of the search."""
    stream, changes = checked.cells[0].config["stream"], []
    if how.benchmark:
        if own is not None:
            raise Refused(
                "protocol other:BENCHMARK brings its own data, and dataset= is given too; leave one of them out"
            )
        document, source = documents.read(find(how.benchmark))
        schema.check(document, source)
        changes = [("stream", document["stream"])]
        theirs = make_plan(how.benchmark, strategies=["naive"], seeds=1, data_dir=replaced["data_dir"])
        stream = theirs.cells[0].config["stream"]
    ends = metric.needs.startswith(WITH_ENDS)
    return [*changes, *how.overrides(stream, ends=ends).items()]


def _routed(
    title: str,
    written: Sequence[Any],
    ranges: Mapping[str, Search],
    defaults: Mapping[str, Mapping[str, Any]],
    how: Protocol,
    settings: Sequence[Assignment],
    where: Path | None,
) -> Tuned:
    """Return the answer of a protocol without trials: every run chooses the settings itself."""
    from clbench import __version__
    from clbench.strategies import notation

    answers = {}
    for each in written:
        strategy = each["strategy"] if isinstance(each, Mapping) and "strategy" in each else each
        label = notation.label(strategy)
        section = {"protocol": how.name, "knobs": starts_within(strategy, defaults, ranges)}
        answers[label] = TunedStrategy(
            chosen_in_run=section, tuning={"protocol": how.name, "clbench": __version__},
            notes=("every run chooses these settings itself, on the samples of the running experience",),
        )  # fmt: skip
    tuned = TunedSettings(title, answers, _as_settings(settings))
    path = None if where is None else where / FILE
    if path is not None:
        write_or_refuse(path, tuned.text.encode())
    return Tuned(tuned, {}, path)


def _as_settings(settings: Sequence[Assignment]) -> dict[str, Any]:
    """Return assignments as a mapping of dotted keys, for the file."""
    from clbench.benchmark.assignments import pairs

    return dict(pairs(settings))
