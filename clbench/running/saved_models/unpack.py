"""Reading of saved models, without a data set."""

from __future__ import annotations

import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor, nn

from clbench import models
from clbench.adapters.run_setup import RunSetup
from clbench.benchmark.run_settings import RunSettings
from clbench.core.errors import Refused
from clbench.core.global_rng import preserved
from clbench.core.types import Dataset, Stream
from clbench.core.user_files import found
from clbench.evaluate.subject import Subject
from clbench.families.class_mask import ALL, ClassMask
from clbench.models.blank import Blank
from clbench.running.cell_key import Cell
from clbench.running.prepared_run import Run
from clbench.running.saved_models import source_weights
from clbench.running.saved_models.pack import FORMAT
from clbench.running.saved_models.predictor import Saved, outline
from clbench.training.device_rows import Augment, Resident


def load_model(path: str | Path, *, model: Any = None, trust: bool = False) -> Saved:
    """Read a model that a run has kept, ``OUT/models/KEY.pt`` or ``OUT/models/KEY/EXPERIENCE.pt``.

    Args:
        path: The file.
        model: The object that was given to the run as ``model=``, if there was one, or the class or function of a model
            ``FILE.py:NAME``, whose file is then not read; the weights are those of ``path``.
        trust: Whether foreign code may run: unpickling of an estimator, of a learner with ``observe`` or of a strategy
            of avalanche-lib, and files of plugins. Use it only for files from a source that you trust.

    Raises:
        Refused: The file is missing, damaged, of a newer format, or needs ``model`` or ``trust``.
    """
    return loaded(read_kept(Path(path).expanduser()), path, model=model, trust=trust)


def loaded(held: Mapping[str, Any], path: str | Path, *, model: Any = None, trust: bool = False) -> Saved:
    """Return the model of the content of a file; the other arguments and errors are as in :func:`load_model`."""
    own, needs_model = str(held["cell"]["model"]["name"]), is_given(held)
    takes_model = _has_network(held) and ".py:" in own
    foreign = [name for name in held["foreign"] if not (takes_model and model is not None and name == own)]
    if foreign and not trust:
        how = f"; or give the model itself: load_model(..., model={own.rpartition(':')[2]})" * (foreign == [own])
        raise Refused(
            f"{path} holds {', '.join(foreign)}, and reading it would run code that is not clbench's; if "
            f"you trust its origin, write load_model(..., trust=True){how}"
        )
    file = own.rpartition(":")[0]
    if takes_model and model is None and not found(file).is_file():
        raise Refused(
            f"{path} needs the code of {own}, and {Path.cwd()} has no file {file}; run this in the folder to which the "
            f"path {file} is relative, or, in Python, give the model itself: load_model(..., model="
            f"{own.rpartition(':')[2]})"
        )
    if needs_model and model is None:
        raise Refused(
            f"{path} holds the weights of a program's own model ({own}), and no code; give what was given to the run: "
            "load_model(..., model=...)"
        )
    if model is not None and not needs_model and not takes_model:
        raise Refused(f"{path} holds no program's own model, so model= has no place in it; leave it out")
    with preserved():
        subject = _run(held, model) if "parts" in held else _avalanche_subject(held)
    return Saved(held, subject)


def is_given(held: Mapping[str, Any]) -> bool:
    """Return whether a file holds the weights of a model that a program gave, whose code it does not name."""
    return _has_network(held) and str(held["cell"]["model"]["name"]).startswith("given:")


def _has_network(held: Mapping[str, Any]) -> bool:
    return bool(held.get("model", {}).get("kind") == "module")


def read_kept(path: Path) -> dict[str, Any]:
    """Read the content of a saved model, without its code.

    Raises:
        Refused: The file is missing, damaged, or of a newer format, or the pretrained weights that it names are not
            there.
    """
    try:
        held = torch.load(io.BytesIO(path.read_bytes()), map_location="cpu", weights_only=True)
    except OSError as error:
        raise Refused(
            f"the model {path} cannot be read ({error.strerror}); models are kept by clbench run --save-model"
        ) from None
    except Exception as error:
        raise Refused(
            f"the model {path} is damaged, or no model of clbench ({type(error).__name__}); keep it again with "
            "clbench run --save-model"
        ) from None
    written = held.get("clbench model") if isinstance(held, dict) else None
    if written is None:
        raise Refused(
            f"{path} holds only weights, as an earlier clbench kept them; keep the model again with clbench run "
            "--save-model"
        )
    if written > FORMAT:
        raise Refused(f"{path} was written by a newer clbench (format {written}, here {FORMAT}); upgrade clbench")
    return source_weights.filled(cast("dict[str, Any]", held))


class KeptRows(Resident):
    """Hold the samples that came with a model, as the model sees them, with their numbers in the data set."""

    def __init__(self, kept: Mapping[str, Tensor] | None, dataset: Dataset) -> None:
        super().__init__(dataset.train, dataset)
        self._shown = torch.zeros(0, *dataset.shape) if kept is None else kept["x"]
        pairs = [] if kept is None else zip(kept["row"].tolist(), kept["view"].tolist(), strict=True)
        self._place = {pair: place for place, pair in enumerate(pairs)}

    @property
    def row_bytes(self) -> int:
        """Return the bytes of one raw sample."""
        return self._shown[:1].numel() * self.x.element_size()

    def present(
        self, rows: Tensor, view: Tensor, *, augment: Augment | None = None, room: Tensor | None = None
    ) -> Tensor:
        """Return samples (B,) under their views (B,), (B, ...).

        Raises:
            Refused: A sample was not kept.
        """
        try:
            places = [self._place[pair] for pair in zip(rows.tolist(), view.tolist(), strict=True)]
        except KeyError as error:
            raise Refused(
                f"the prediction needs training sample {error.args[0][0]}, which was not kept with the model; only "
                "samples that every prediction needs are kept, and those of the replay buffer"
            ) from None
        return self._shown[torch.tensor(places, dtype=torch.int64)]


def _run(held: Mapping[str, Any], given: Any) -> Subject:
    """Restore the learner of clbench's loop."""
    settings, stream = dict(held["cell"]), outline(held)
    settings["reveal"] = [name for name in settings.get("reveal", ()) if name != "length"]  # this needs the samples
    cell = Cell.of(held["cell"], held["label"])
    parts = cell.strategy.parts() if held["parts"] else []  # without a part that reads out, the network predicts
    for part in parts:
        part.__dict__["stream_length"] = stream.length
    setup = RunSetup(
        settings=RunSettings.of(settings),
        seed=settings["seed"],
        shown=stream,
        stream=stream,
        rows=KeptRows(held["rows"], stream.dataset),
        model=_module(held, stream, given),
        evaluator=cast(Any, None),
        device="cpu",
    )
    run = Run.of(cell, parts, setup)
    learner = run.learner
    _take_weights(learner.model, held["model"])
    learner.classes.seen.copy_(held["seen"])
    learner.classes.set_mask(ALL if held["hidden"] is None else ClassMask(~held["hidden"]))
    learner.experience = held["running"]
    if held["memory"] is not None:
        learner.memory.state = held["memory"]
    for _ in range(held["optimizers"]):
        learner.another_optimizer()
    for number, saved in held["parts"].items():
        part = run.chain.parts[number]
        part.load(saved["state"], learner.device)
        part.generator.state = saved["generator"]
        part.attach(learner)
    return run.trainer.readout


def _module(held: Mapping[str, Any], stream: Stream, given: Any) -> nn.Module:
    config = {name: value for name, value in held["cell"]["model"].items() if name != "heads"}
    shape, n = stream.dataset.shape, stream.n_outputs
    if held["model"]["kind"] == "blank":
        module: nn.Module = Blank(n)
    elif given is not None:
        module = _given(given, config, shape, n, tokens=stream.dataset.tokens)
    else:
        if config["name"] == "torchvision":
            config["weights"] = None  # those of the file replace them
        module = models.make(config, shape, n)
    return module


def _take_weights(module: nn.Module, kept: Mapping[str, Any]) -> None:
    """Give a model, with what parts add to it, the weights and buffers of a file.

    Raises:
        Refused: It has others than the file.
    """
    for kind, now in (("parameters", module.named_parameters()), ("buffers", module.named_buffers())):
        told, there = kept[kind], dict(now)
        if {name: t.shape for name, t in told.items()} != {name: t.shape for name, t in there.items()}:
            wrong = sorted(
                name
                for name in told.keys() | there.keys()
                if name not in told or name not in there or told[name].shape != there[name].shape
            )
            raise Refused(
                f"the model is not the one that was run: its {kind} differ from those of the file at {wrong[0]!r}; "
                "give the model that was given to the run"
            )
        with torch.no_grad():
            for name, tensor in there.items():
                tensor.copy_(told[name])


def _given(given: Any, config: Mapping[str, Any], shape: tuple[int, ...], n: int, *, tokens: bool) -> nn.Module:
    """Return a module from what the user gives, with the settings that a model of a file had in its benchmark."""
    from clbench.models.user_models import build, construct
    from clbench.models.wrap import wrap

    settings = {name: value for name, value in config.items() if name not in ("name", "source", models.FILE)}
    if isinstance(given, nn.Module) or not callable(given) or ".py:" not in str(config["name"]):
        return build(given, shape, n, tokens=tokens)
    return wrap(construct(given, shape, n, settings, where="model="), n, shape=shape, tokens=tokens)


def _avalanche_subject(held: Mapping[str, Any]) -> Subject:
    from clbench.adapters.avalanche.slim_strategy import thawed

    return cast(Subject, thawed(held, outline(held)))
