"""The Python functions behind the command line: run a matrix, load records, make a leaderboard, plot."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from clbench.benchmark.assignments import Assignment
from clbench.benchmark.sections import describe_dataset
from clbench.core.errors import Refused
from clbench.core.record import Record, Records, Trace
from clbench.core.types import Dataset, Stream
from clbench.running.execution import (
    Strategy,
    data_and_settings,
    execute_plan,
    keeping,
    path_text,
    records_of,
    split_strategies,
)
from clbench.running.executors import Event, ignore
from clbench.running.plan import make_stream
from clbench.running.plan import plan as make_plan
from clbench.running.tuned_cells import tuned_settings

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from pandas import DataFrame
    from torch import nn

    from clbench.comparison.folder_difference import FolderDifference
    from clbench.leaderboard.board import Board


def run(
    benchmark: str | Path | Mapping[str, Any],
    *,
    strategies: str | Sequence[Strategy] | None = None,
    seeds: int | str | Iterable[int] | None = None,
    out: str | Path | None = None,
    jobs: int | str = 1,
    device: str = "cpu",
    data_dir: str | Path | None = None,
    overrides: Mapping[str, Any] | Iterable[Assignment] = (),
    tuned: Any = None,
    dataset: Any = None,
    stream: Stream | Callable[[int], Stream] | None = None,
    model: nn.Module | Callable[[tuple[int, ...], int], nn.Module] | None = None,
    save_model: bool | str = False,
    save_predictions: bool = False,
    time_limit: float | str | None = None,
    memory_limit: int | str | None = None,
    isolated: bool = False,
    snapshot_every: float | str = 300.0,
    executor: str | None = None,
    gpus_per_cell: float | None = None,
    shard: str | None = None,
    wait: bool = True,
    rerun: str | None = None,
    progress: bool | str | None = None,
    watch: Callable[[Event], None] = ignore,
) -> list[Record]:
    """Run a benchmark matrix. Cells that are finished in ``out`` are not run again.

    Args:
        benchmark: A shipped name (``"split-digits"``), the path of a benchmark file, or a mapping of its content.
        strategies: Strategies instead of the benchmark's: ``"er, er + ewc(strength=1)"`` or a list.
        seeds: Seeds instead of the benchmark's: ``5`` (for 0 to 4), ``"0,1,2"``, or a list.
        out: Result directory; ``None`` keeps records only in memory.
        jobs: Number of cells at a time, each in a process of its own if above one; ``"auto"`` uses all cores.
        device: ``"cpu"``, ``"cuda"``, ``"auto"``, or GPUs on which cells are placed, ``"cuda:0,cuda:1"``.
        data_dir: The directory of data sets and downloads.
        overrides: Dotted keys with plain values, such as ``{"training.lr": 0.03}``; or texts ``"key=value"`` with
            values in YAML.
        tuned: Settings that a search chose, for the strategies that it names: the file ``tuned.yaml`` of ``clbench
            tune``, its content as a mapping, or what :func:`clbench.tune` returns. Records say how the settings were
            found.
        dataset: Data instead of the benchmark's. A name keeps the benchmark's settings of data sets; ``{"name":
            "csv:a.csv", "label": "kind"}`` sets some of them. Own data can be
            arrays ``(x_train, y_train, x_test, y_test)``, two pairs, torch data sets, pandas frames, ...; see
            ``clbench.data.user_data``.
        stream: A stream instead of the benchmark's, such as one from :func:`clbench.from_avalanche`: the same for every
            seed, or a function from a seed to its stream.
        model: A model instead of the benchmark's: a module, whose weights are every run's initial weights, or a
            callable (function or class) that makes one from ``(shape, n_outputs)``, with new initial weights for each
            seed.
        save_model: Whether to keep the model at the end of each run as ``OUT/models/KEY.pt``, for
            :func:`clbench.load_model`; ``"ends"`` also keeps the model after each experience, as
            ``OUT/models/KEY/EXPERIENCE.pt``. Finished cells without these files are run again.
        save_predictions: Whether to keep the predictions of every evaluation sample at the ends of experiences, as
            ``OUT/predictions/KEY.parquet``.
        time_limit: Time limit of each cell, in seconds or as ``"15m"``, ``"2h"``; a cell that takes longer fails.
        memory_limit: Memory limit of each cell, in bytes or as ``"8GB"``, ``"50%"`` of the machine's; a cell that needs
            more fails. Without it, all workers together may use nine tenths of the machine's memory.
        isolated: Whether to run a single job in a worker process too, as with limits and on the command line. A cell
            that ends its process, hangs or needs too much memory then affects no other cell. Otherwise the job runs in
            this process, where a debugger can follow it.
        snapshot_every: Time between two snapshots of a long cell in ``out``, in seconds or as ``"5m"``, from which it
            resumes after an interruption; 0 makes one only when the program is stopped by a signal.
        executor: Name of the executor that runs the cells, instead of the one that ``jobs``, ``isolated`` and the
            limits select: ``in-process``, ``local``, ``ray``, ``ray:HOST:PORT``, one of a package, or
            ``FILE.py:NAME``; ``clbench list executors`` lists them.
        gpus_per_cell: Share of a GPU for each cell with the executor ``ray`` and ``device="cuda"``, such as 0.2 for
            five cells on each GPU; by default 1.
        shard: A share of the cells, such as ``"3/16"``: the third of sixteen. Each cell belongs to one of them, by its
            key. It serves commands that share no folder.
        wait: Whether to wait for cells that other commands run in the same ``out``. Otherwise their records are left
            out of the answer.
        rerun: ``"stale"`` to run finished cells again whose code has changed since, or is unknown. A record with an
            equal result stays; another one moves to ``OUT/superseded``.
        progress: Whether to show progress: as bars in a notebook and in a terminal, as a line per cell elsewhere. By
            default only a notebook shows it. ``"bars"``, ``"lines"``, ``"json"`` (one object a line on standard output)
            or ``"none"`` choose the form.
        watch: A function that is called with every event: :class:`Started`, :class:`Progress`, and each
            :class:`Record`.

    Returns:
        One record per cell, strategy by strategy, also for cells that failed, diverged or were skipped. In a notebook
        the list is shown as a leaderboard.

    Raises:
        Refused: A setting or an argument is wrong; this is raised before anything runs.
    """
    from clbench.core.identity import describe_model
    from clbench.running.progress import both, shown_progress, shows_scores
    from clbench.running.shards import read_shard, sharded
    from clbench.running.user_objects import UserObjects

    if dataset is not None and stream is not None:
        raise Refused("dataset= and stream= are both given; a stream brings its own data set, leave dataset= out")
    share = read_shard(shard)
    own, settings = data_and_settings(dataset, overrides)
    given = UserObjects(dataset=own, stream=stream, model=model)
    plan = make_plan(
        benchmark,
        strategies=split_strategies(strategies),
        seeds=seeds,
        overrides=settings,
        dataset=None if own is None else describe_dataset(own),
        model=None if model is None else describe_model(model),
        stream=stream,
        data_dir=data_dir,
        tuned=tuned_settings(tuned),
    )
    plan = sharded(plan, share)
    where = None if out is None else Path(out).expanduser().absolute()
    keep = keeping(where, save_model, save_predictions)
    found = records_of(plan, where, keep, data_dir=data_dir, given=given, rerun=rerun)
    with shown_progress(progress, len(plan.cells), len(found.known)) as show:
        outcome = execute_plan(
            plan,
            out=out,
            jobs=jobs,
            device=device,
            data_dir=data_dir,
            given=given,
            save_model=save_model,
            save_predictions=save_predictions,
            time_limit=time_limit,
            memory_limit=memory_limit,
            isolated=isolated,
            snapshot_every=snapshot_every,
            executor=executor,
            gpus_per_cell=gpus_per_cell,
            watch=both(show, watch),
            found=found,
            wait=wait,
            scores=shows_scores(show),
        )
    return Records(outcome.records)


def numbers(
    data: Any,
    *,
    name: str = "arrays",
    scale: float | None = None,
    layout: Literal["NCHW", "NHWC"] | None = None,
) -> Dataset:
    """Make a data set whose targets are numbers to be predicted, for :func:`run` and :func:`stream`.

    Args:
        data: Anything that ``dataset=`` of :func:`run` takes, with numbers (N,) or (N, columns) in place of labels:
            ``(x_train, y_train, x_test, y_test)``, a scikit-learn Bunch, a pandas frame with the name of its column
            (several with commas between them), and so on.
        name: Name of the data set in records.
        scale: As in :func:`clbench.data.from_arrays`.
        layout: As there.

    Returns:
        A data set of the family ``regression``; without test samples a fifth is held out, spread over the targets.

    Raises:
        Refused: The data cannot be used, with the remedy.
    """
    from clbench.data import user_data

    return user_data.given(data, name=name, scale=scale, layout=layout, family="regression")


# ------------------------------------------------------------------------------------------- reading results


def records(*directories: str | Path) -> Records:
    """Return all records of some result directories as a list; a notebook shows their leaderboard.

    Raises:
        Refused: A directory holds no records, or a record is damaged.
    """
    from clbench.core import store

    return Records(store.load_all(*(Path(directory).expanduser() for directory in directories)))


def status(directory: str | Path) -> dict[str, Any]:
    """Return the state of a result directory as plain data, such as ``status["plans"][0]["waiting"]``: what is done,
    runs, failed or waits, and what is wrong with its files. The page ``docs/scale.md`` lists the keys.

    Raises:
        Refused: The directory holds neither records nor plans nor claims.
    """
    from clbench.running.folder_status import folder_status

    return folder_status(Path(directory).expanduser())


def load(*directories: str | Path, latest: bool = False) -> DataFrame:
    """Return a data frame with one row per cell: benchmark, strategy, seed, status, metrics, cost, provenance,
    ``trace``.

    Args:
        directories: Result directories.
        latest: Whether to leave out cells of older versions of your own code, as in :func:`board`.
    """
    from clbench.comparison.code_versions import newest
    from clbench.leaderboard.frame import frame

    found = records(*directories)
    return frame(newest(found)[0] if latest else found)


def board(
    *directories: str | Path,
    metrics: Sequence[str] | None = None,
    columns: Sequence[str] | None = None,
    rows: str | Sequence[str] | None = None,
    rename: Mapping[str, str] | Iterable[str] = (),
    order: str | Sequence[str] = "rank",
    decimals: int | None = None,
    across: bool = False,
    latest: bool = False,
    seeds: int | str | Iterable[int] | None = None,
    rank_by: str = "acc",
    within: str | Mapping[str, float] | None = None,
    versus: str | None = None,
    pairs: bool = False,
) -> Board:
    """Return the leaderboard of some result directories; ``clbench.leaderboard.render`` prints it.

    Args:
        directories: Result directories.
        metrics: The metrics to show, in this order.
        columns: All columns to show, in this order, instead of ``metrics``: ``rank``, ``strategy``, ``engine``,
            ``settings``, ``seeds``, metrics, and entries of a record's cost such as ``cost_train_seconds``.
        rows: The strategies to show. Ranks, groups and marks are those among them.
        rename: New names of strategies or benchmarks: ``{"mine": "Ours"}`` or ``["mine=Ours"]``.
        order: ``rank``, ``name``, a metric (best first), or strategies that come first.
        decimals: Decimals of printed values, 0 to 9; by default those of each format.
        across: Whether tables and text show all benchmarks in one table.
        latest: Whether to show only the newest version of each strategy of your own code; a note counts the others.
        seeds: The only seeds that count: ``"0-9"``, ``"0,1,2"``, ``5`` (0 to 4) or a list. By default a strategy needs
            the seeds that most strategies have in order to be ranked.
        rank_by: The metric that ranks.
        within: The largest costs: ``"memory_bytes=1e6,steps=500"`` or a mapping. Rows above them are not ranked.
        versus: The strategy that all others are compared with.
        pairs: Whether formats show the comparisons of all pairs of rows.

    Raises:
        Refused: A directory holds no records, or a metric, column, strategy or cost does not exist.
    """
    from clbench.leaderboard.board import board as make_board
    from clbench.leaderboard.published_rows import published_in

    return make_board(
        records(*directories), metrics, columns=columns, rows=rows, rename=rename, order=order, decimals=decimals,
        across=across, latest=latest, seeds=seeds, rank_by=rank_by, within=within, versus=versus, pairs=pairs,
        published=published_in(directories),
    )  # fmt: skip


def forget(
    directory: str | Path,
    *,
    strategies: str | Sequence[Strategy] | None = None,
    keys: Sequence[str] = (),
    failed: bool = False,
    older: bool = False,
) -> list[Record]:
    """Move cells with all their files to ``DIRECTORY/forgotten``: those that fit all given conditions.

    Args:
        directory: A result directory.
        strategies: Strategies, as leaderboards show them.
        keys: First characters of keys.
        failed: Only failed cells.
        older: Only cells of older versions of your own code, which ``board(..., latest=True)`` leaves out.

    Returns:
        The records that were moved.

    Raises:
        Refused: No condition is given, no cell has one of the strategies or keys, or a directory cannot be written.
    """
    from clbench.running import forget as forgetting

    where = Path(directory).expanduser()
    names = [str(name) for name in split_strategies(strategies) or ()]
    found = forgetting.chosen(records(where), strategies=names, keys=keys, failed=failed, older=older)
    return forgetting.forget(found, where)[1]


def folder_difference(first: str | Path, second: str | Path) -> FolderDifference:
    """Return the differences between two result directories as an object, as :func:`diff` does as plain data."""
    from clbench.comparison.folder_difference import compare
    from clbench.core import store

    a, b = Path(first).expanduser(), Path(second).expanduser()

    def traces(key: str) -> tuple[Trace | None, Trace | None]:
        held = [store.load(store.record_path(key, folder)).trace for folder in (a, b)]
        return held[0], held[1]

    return compare(store.load_all(a), store.load_all(b), traces)


def diff(first: str | Path, second: str | Path) -> dict[str, Any]:
    """Compare two result directories cell by cell, and in ACC strategy by strategy.

    Args:
        first: A result directory, A.
        second: Another one, B.

    Returns:
        Plain data: ``shared`` and ``equal`` count the cells in both and the equal ones among them. ``different`` lists
        the others with both statuses, checksums and fingerprints, with the first differing evaluation as ``trace``,
        and with a sentence as ``text``. ``only_a`` and ``only_b`` list the strategies of further cells with their
        ``seeds``. ``paired`` lists for each strategy the values ``a`` and ``b`` of the ``seeds`` that are finished in
        both, the ``mean`` of B - A and ``half`` of its 95 % interval (from three seeds on) in ``unit``, and the
        ``settings`` that differ. ``unpaired`` lists sentences about strategies that cannot be paired.

    Raises:
        Refused: A directory holds no records.
    """
    return folder_difference(first, second).data()


def merge(*directories: str | Path, out: str | Path, snapshots: bool = False) -> dict[str, Any]:
    """Merge result directories into a new one: each cell once, and different results of one cell kept apart.

    Args:
        directories: Two or more result directories; nothing in them is changed.
        out: A directory that does not exist or is empty, or was left by an interrupted merge of the same directories.
        snapshots: Whether to copy the checkpoints of cells that no directory has finished.

    Returns:
        Plain data: ``cells`` counts the cells in ``out``, ``taken`` those from each directory, and ``equal`` those that
        several directories have with equal traces. ``conflicts`` lists the cells that they have with different ones:
        their ``folders`` below ``out``, and a sentence as ``text``. ``aside`` lists folders that were not merged.

    Raises:
        Refused: The directories cannot be merged, or ``out`` cannot be written.
    """
    from clbench.running.folder_merge import merge as merge_folders

    return merge_folders([Path(each) for each in directories], Path(out), snapshots=snapshots).data()


def plot(
    *directories: str | Path,
    kind: str = "gap",
    benchmark: str | None = None,
    strategies: Sequence[str] | None = None,
    order: Sequence[str] | None = None,
    cost: str = "rows",
    since: str = "last",
    width: float | None = None,
    height: float | None = None,
    font_size: float | None = None,
    title: bool = True,
    per_panel: int = 6,
    rename: Mapping[str, str] | Iterable[str] = (),
) -> Figure:
    """Plot some result directories; ``clbench.plots.save`` writes the figure to a file.

    Args:
        directories: Result directories.
        kind: ``gap``, ``tasks``, ``switches``, ``matrix``, ``classes``, ``confusion``, ``predictions``, ``lag`` or
            ``cost``, as in ``clbench.plots.KINDS``.
        benchmark: Name and version; needed only if there are several.
        strategies: Labels of strategies, in this order; by default all, from the best ACC to the worst.
        order: Labels of strategies that come first, in this order.
        cost: For kind ``cost``: ``rows``, ``seconds``, ``memory``, ``steps``, or any entry of a record's cost.
        since: For kind ``lag``: whether it is counted from the ``last`` or the ``first`` visit.
        width: Width in inches, 1 to 60; by default the usual one of the kind. A column of a paper is about 3.3.
        height: Height in inches, 0.8 to 200; by default what the panels need.
        font_size: Size of the letters in points, 3 to 40; by default 9.5, and 7 or 8 in narrow figures.
        title: Whether to draw the title and the caption below it.
        per_panel: Largest number of strategies in one panel; more are divided into several panels.
        rename: New names of strategies or benchmarks, as in :func:`board`: ``{"mine": "Ours"}`` or ``["mine=Ours"]``.
            Colours stay those of the labels.

    Raises:
        Refused: The kind is unknown, there is nothing to plot, the records do not suit this kind, or a number is
            outside of its range.
    """
    from clbench import plots
    from clbench.plots.picture_format import Format

    plots.get(kind)
    settings = {"cost": {"cost": cost}, "lag": {"since": since}}.get(kind, {})
    found = records(*directories)
    names = _names(rename, found) if rename else {}
    form = Format(width=width, height=height, font_size=font_size, title=title, per_panel=per_panel, names=names)
    return plots.draw(kind, found, form, benchmark=benchmark, strategies=strategies, order=order, **settings)


def _names(rename: Mapping[str, str] | Iterable[str], found: Iterable[Record]) -> dict[str, str]:
    """Map labels and titles of finished records to their new names."""
    from clbench.comparison import comparable
    from clbench.comparison.record_groups import by_strategy, is_finished
    from clbench.leaderboard.row_choice import new_names

    titles = comparable.tables(filter(is_finished, found))
    return new_names(rename, [label for own in titles.values() for label in by_strategy(own)], list(titles))


def stream(
    scenario: str, dataset: Any = None, *, seed: int = 0, data_dir: str | Path | None = None, **settings: Any
) -> Stream:
    """Generate a single stream: ``clbench.stream("split", "digits", setting="class", experiences=5)``, or that of a
    benchmark: ``clbench.stream("split-digits")``.

    Args:
        scenario: Name of the scenario; without ``dataset`` a benchmark, by its name or as a file.
        dataset: A name, or own data in any form that :func:`run` takes.
        seed: Seed of the stream.
        data_dir: The directory of data sets.
        settings: Settings of the scenario.

    Raises:
        Refused: A name or setting is unknown, or data is missing.
    """
    from clbench import scenarios
    from clbench.data.roots import with_beside
    from clbench.data.user_data import given

    if dataset is None:
        if scenario in scenarios.SCENARIOS or settings:
            raise Refused(
                f"clbench.stream({scenario!r}) names no data set; write clbench.stream({scenario!r}, 'digits'), or the "
                "name of a benchmark alone"
            )
        first = make_plan(scenario, seeds=[seed], data_dir=data_dir).cells[0]
        return make_stream(first.config["stream"], seed, data_dir=path_text(data_dir))
    return scenarios.make(
        {"scenario": scenario, **settings}, given(dataset, data_dir=with_beside(Path.cwd(), data_dir)), seed
    )
