"""Run the cells of a plan with the settings of a program or a command, after all checks that come before them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from clbench import families
from clbench.benchmark.assignments import Assignment
from clbench.core.errors import Refused
from clbench.core.store import Keep
from clbench.core.types import Dataset, Stream
from clbench.running import attempts
from clbench.running.cell_key import Cell
from clbench.running.executors import Event, executor_name, ignore
from clbench.running.executors.executor_names import named_executor
from clbench.running.executors.limits import SNAPSHOT_SECONDS, limits, snapshot_seconds
from clbench.running.found_records import Found, find_records
from clbench.running.matrix import Outcome, run_matrix
from clbench.running.options import Options
from clbench.running.placement import check_jobs, device_names
from clbench.running.plan import Plan, check_batches, given_stream, make_stream, refuse_replaced
from clbench.running.plan_files import keep_published, write_plan
from clbench.running.rerun import check_rerun

if TYPE_CHECKING:
    from clbench.running.user_objects import UserObjects

Strategy = str | Mapping[str, Any]


def execute_plan(
    plan: Plan,
    *,
    out: str | Path | None = None,
    jobs: int | str = 1,
    device: str = "cpu",
    data_dir: str | Path | None = None,
    given: Any = None,
    save_model: bool | str = False,
    save_predictions: bool = False,
    time_limit: float | str | None = None,
    memory_limit: int | str | None = None,
    isolated: bool = False,
    snapshot_every: float | str = SNAPSHOT_SECONDS,
    executor: str | None = None,
    gpus_per_cell: float | None = None,
    watch: Callable[[Event], None] = ignore,
    found: Found | None = None,
    wait: bool = True,
    waits: Callable[[int], None] = lambda _cells: None,
    command: str = "",
    rerun: str | None = None,
    scores: bool = False,
    begin: Callable[[Path], None] | None = None,
) -> Outcome:
    """Run the cells of a plan. The first stream is built before, so that its errors appear before anything runs.

    If all cells are finished, only the data set is built, to compare its checksum with the records. If worker processes
    run the cells on CPUs, this process imports no torch. Arguments are as in :func:`clbench.run`; ``found`` are the
    records of :func:`records_of`, if they were read before, ``command`` is the command line for the plan's file,
    ``waits`` is called once, with their number, when only cells remain that other commands run, and ``scores`` asks for
    the ACC and gap of running cells with their progress. ``begin`` writes the plan's file to the result directory, in
    place of this function, for plans that are a part of a greater one.
    """
    where, held = None if out is None else Path(out).expanduser().absolute(), limits(time_limit, memory_limit)
    data_dir = plan.data_dir or path_text(data_dir)
    keep = keeping(where, save_model, save_predictions)
    # An executor that does not exist, or cannot do what is requested, is refused before anything is loaded.
    chosen = None if executor is None else named_executor(executor)
    here = chosen is None or not chosen.elsewhere
    devices = tuple(choose_device(name, here=here) for name in device_names(device))
    check_jobs(devices, jobs)
    options = Options(
        data_dir=data_dir,
        device=devices[0],
        devices=devices if len(devices) > 1 else (),
        given=given,
        keep=keep,
        partial=where / "partial" if where is not None else None,
        attempts=where / attempts.FOLDER if where is not None else None,
        snapshot_every=snapshot_seconds(snapshot_every),
        scores=scores,
        limits=held,
        isolated=isolated,
        executor=executor,
        gpus_per_cell=gpus_per_cell,
    )
    (chosen or named_executor(executor_name(options, 1))).check(options)

    def begin_alone(folder: Path) -> None:
        write_plan(plan, folder, command)

    if found is None:
        found = records_of(plan, where, keep, data_dir=data_dir, given=given, rerun=rerun)
    if any(cell.key not in found.known for cell in plan.cells):
        first = plan.cells[0]
        if given is None or given.stream is None:
            own = given.dataset if given is not None else None
            stream = make_stream(first.config["stream"], first.seed, data_dir=data_dir, dataset=own)
            check_batches(plan.cells, data_dir=data_dir, dataset=own)
        else:
            stream = given_stream(given.stream, first.seed)
        _check_classes(keep, plan.cells, stream)
        if given is not None and given.model is not None:
            _check_model(
                given.model, stream, first.seed, alone=jobs in (1, "1") and executor_name(options, 1) == "in-process"
            )
    if where is not None and plan.benchmark.published:
        keep_published(plan, where)
    return run_matrix(
        plan.cells,
        options,
        out=where,
        jobs=jobs,
        watch=watch,
        found=found,
        wait=wait,
        waits=waits,
        begin=begin or begin_alone,
    )


def records_of(
    plan: Plan,
    out: Path | None,
    keep: Keep | None,
    *,
    data_dir: str | Path | None = None,
    given: UserObjects | None = None,
    rerun: str | None = None,
) -> Found:
    """Return what a result directory holds of a plan; nothing without a directory. Each record is read once."""
    again = check_rerun(rerun)
    if out is None:
        return Found()
    named = given is None or (given.dataset is None and given.stream is None)
    return find_records(
        plan.cells, out, keep, data_dir=plan.data_dir or path_text(data_dir), compare_data=named, rerun=again
    )


def keeping(out: Path | None, save_model: bool | str, save_predictions: bool) -> Keep | None:
    """Return the files to keep with records.

    Raises:
        Refused: There is no directory for them, or a word is unknown.
    """
    if save_model not in (False, True, "final", "ends"):
        raise Refused(f"save_model = {save_model!r} is not known; use True (or final) for the end of runs, or ends")
    if not save_model and not save_predictions:
        return None
    if out is None:
        raise Refused("save_model and save_predictions need out: the directory for models and predictions")
    return Keep(out, model=bool(save_model), ends=save_model == "ends", predictions=save_predictions)


def _check_classes(keep: Keep | None, cells: Sequence[Cell], stream: Stream) -> None:
    """Refuse what needs classes if outputs are not classes."""
    if families.of(stream.dataset).has_classes:
        return
    evaluation = cells[0].config["evaluation"]
    asked = [f"evaluation.{name}" for name in ("masked", "classes") if evaluation.get(name)]
    asked += ["save_predictions (--save-predictions)"] * (keep is not None and keep.predictions)
    if asked:
        raise Refused(
            f"{asked[0]} needs classes, and data set {stream.dataset.name!r} is of the family {stream.family!r}; "
            "leave it out"
        )


def _check_model(model: Any, stream: Stream, seed: int, *, alone: bool) -> None:
    """Refuse a given model that no run can use, before anything runs."""
    import cloudpickle

    from clbench.core.global_rng import preserved, seed_globals
    from clbench.models.user_models import build

    with preserved():
        seed_globals(seed, "init")
        build(model, stream.dataset.shape, stream.n_outputs, tokens=stream.dataset.tokens)
    if not alone:
        try:
            cloudpickle.dumps(model)
        except Exception as error:
            raise Refused(
                f"model= cannot be sent to worker processes ({type(error).__name__}: {error}); use jobs=1, or give a "
                "function that makes it"
            ) from error


def split_strategies(written: str | Sequence[Strategy] | None) -> list[Strategy] | None:
    """Split text such as ``"a, er + ewc(strength=1, rows=9)"`` into strategies; lists are returned unchanged."""
    from clbench.strategies import notation

    if written is None:
        return None
    return list(notation.split_list(written)) if isinstance(written, str) else list(written)


def choose_device(device: str, *, here: bool = True) -> str:
    """Return ``cpu`` or ``cuda[:N]`` for the name of a device or ``auto``.

    Args:
        device: The name.
        here: Whether cells run on this machine; otherwise a named GPU need not be here.

    Raises:
        Refused: The name is unknown, it is a list, or torch finds no such GPU.
    """
    if "," in device:
        raise Refused(f"device {device!r} names several devices, and one is needed here; name one of them")
    if device == "cpu":
        return device
    import torch

    if device == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    if not device.startswith("cuda"):
        raise Refused(f"device {device!r} is not known; choose cpu, cuda or auto")
    if here and not torch.cuda.is_available():
        raise Refused(
            f"device {device!r} is not available: this torch ({torch.__version__}) finds no GPU; choose cpu or auto"
        )
    if here and device.partition(":")[2] not in ("", *map(str, range(torch.cuda.device_count()))):
        raise Refused(
            f"device {device!r} is not available: torch finds {torch.cuda.device_count()} GPUs, counted from cuda:0; "
            "choose one of them"
        )
    return device


def data_and_settings(
    dataset: Any, overrides: Mapping[str, Any] | Iterable[Assignment]
) -> tuple[Dataset | None, list[Assignment]]:
    """Return the data that the program hands over, and the overrides, with one more if the data has a name."""
    from clbench.data.user_data import given, named

    settings: list[Assignment] = (
        [overrides]
        if isinstance(overrides, str)
        else list(overrides.items() if isinstance(overrides, Mapping) else overrides)
    )
    found = None if dataset is None else named(dataset)
    if found is not None:
        refuse_replaced(settings, dataset=True)
        more = [(f"stream.dataset.{key}", value) for key, value in found[1].items()]
        return None, [*settings, ("stream.dataset.name", found[0]), *more]
    return None if dataset is None else given(dataset), settings


def path_text(path: str | Path | None) -> str | None:
    """Return the path of a folder as text, with the home folder written out."""
    return None if path is None else str(Path(path).expanduser())
