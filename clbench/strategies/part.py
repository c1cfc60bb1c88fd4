"""What a strategy is made of: parts, each a dataclass whose fields are its hyper-parameters.

A part acts where the loop calls it (``clbench/training/loop.py`` shows every place); a hook that a part does not define
costs nothing. A part needs no import of torch: a formula uses the operations of tensors.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar

from clbench.core.rng import Generator
from clbench.strategies.hooks import Effect, Hook, hook, hooks_of
from clbench.strategies.part_checks import (
    check_declaration,
    check_families,
    check_protocol,
    check_random_stream,
    check_spelling,
)
from clbench.strategies.part_state import copied, tensor_bytes
from clbench.training.buffer_policies import POLICIES

if TYPE_CHECKING:
    from torch import Tensor, nn

    from clbench.training.batch import Batch
    from clbench.training.learner import ExperienceView, Learner, Output

EVERY_FAMILY = frozenset({"every family"})
"""In ``Part.families``: the part needs nothing but a loss per sample."""
READS, ADDS, BENDS = 0, 1, 2
"""When a part's ``gradient`` acts: it reads the task's gradient, adds to it, or changes the sum. The same holds for
``after_step``: what reads the new weights comes before what changes them. Ties: chain order."""

CLOSES, MOVES, KEEPS = 0, 1, 2
"""When a part's ``end_experience`` acts: it ends the experience with the trained weights, changes the weights, or keeps
what is needed of the final model: importances, anchors, teachers. Ties: chain order."""

NEEDS = frozenset(
    {
        "task_labels", "boundaries", "memory", "length", "augmentation", "pretrained", "side_tensors", "convolutions",
        "linear_layers", "single_tasks", "transformer",
    }
)  # fmt: skip
"""What a part may declare to need."""


@dataclass(kw_only=True)
class Part:
    """Define one ingredient of a strategy. Subclass it as a ``@dataclass(kw_only=True)`` and define the hooks it needs.

    Fields are numbers and strings and are never changed; what the part learns goes into :attr:`state`. Declarations
    (class variables) say what it needs and changes, so that a chain that cannot work is refused when it is built.
    """

    needs: ClassVar[frozenset[str]] = frozenset()
    """What the scenario must reveal or the benchmark provide: task_labels, boundaries, memory, length (of the stream),
    augmentation (several views of a sample), pretrained (weights to begin with), side_tensors (kept with samples of the
    replay buffer; a part that has ``store`` needs them without a declaration), convolutions and
    linear_layers (in the model; the last layer does not count), single_tasks (each experience holds one task),
    transformer (the model is a vision transformer)."""
    families: ClassVar[frozenset[str]] = frozenset({"classification"})
    """The families of tasks for which its formulas are defined, by name; :data:`EVERY_FAMILY` if they need only a loss
    per sample. In streams of another family the cell is skipped."""
    owns: ClassVar[frozenset[str]] = frozenset()
    """What only one part of a chain may set, such as ``"stream coefficient"``. A part that has ``objective``,
    ``observe`` or ``answer`` owns that without a declaration."""
    conflicts: ClassVar[dict[str, str]] = {}
    """Name of another part class -> why the two cannot be combined."""
    masks_classes: ClassVar[bool] = False
    """Whether its ``batch`` restricts the class mask: such hooks run after those that append samples."""
    gradient_order: ClassVar[int] = ADDS
    """When its ``gradient`` and ``after_step`` act among those of others: :data:`READS`, :data:`ADDS` or
    :data:`BENDS`."""
    end_order: ClassVar[int] = KEEPS
    """When its ``end_experience`` acts among those of others: :data:`CLOSES`, :data:`MOVES` or :data:`KEEPS`."""
    memory_policy: ClassVar[str | None] = None
    """The admission policy that the method's paper needs; ``None`` uses the benchmark's."""
    memory_admit: ClassVar[str | None] = None
    """The time of admission that the method's paper needs; ``None`` uses the benchmark's."""
    sees: ClassVar[str] = "stream"
    """What it trains on: the ``stream`` as it is or, for upper bounds that break its rules, experiences ``merged`` into
    one or ``accumulated`` from the first to the current one."""
    engine: ClassVar[str] = ""
    """The library whose own loop runs the part, such as ``avalanche``; none for clbench's."""
    allows: ClassVar[frozenset[str]]
    """The hooks that other parts of a chain may have; all by default, and :data:`ROWS` for a learner with a step of its
    own."""
    uses_model: ClassVar[bool] = True
    """Whether the benchmark's model is used."""
    protocol: ClassVar[Mapping[str, Any]] = {}
    """Settings of a benchmark that the method's source requires: ``{"stream.output": "all"}``; a tuple if several
    values are possible. A cell with another value runs too, with an alarm."""
    answers_in_training: ClassVar[bool] = False
    """Whether its ``answer`` replaces the model in training too. Then it is differentiable, and a function of the
    parameters of ``learner.model``, not of ``learner.w``, so that it can be computed under other weights. In
    importances and gradients per sample, all samples of a call have one task."""
    identity: ClassVar[Mapping[str, Any] | None] = None
    """The parameters at which the part does nothing, such as ``{"strength": 0}``; ``None`` if it always acts."""

    grows: ClassVar[str] = ""
    """What its state keeps of every experience, such as ``"directions of the inputs of each experience"``, if the state
    grows with their number by design; ``clbench check`` then accepts it. Empty for a state of fixed size."""

    def __init_subclass__(cls) -> None:
        hidden = [name for name in inspect.get_annotations(cls) if name in HOOKS]
        if hidden:
            raise TypeError(
                f"{cls.__name__} has a field called {hidden[0]!r}, which is the name of a hook; rename the field"
            )
        for name, value in vars(cls).items():
            if inspect.isfunction(value) and not hasattr(Part, name):
                check_spelling(cls, name, HOOKS)
            elif name == "random_stream":
                check_random_stream(cls, value)
            elif name == "families" and not isinstance(value, property):
                check_families(cls, value)
            elif name == "protocol" and not isinstance(value, property):
                check_protocol(cls, value)
            elif name in DECLARATIONS and not isinstance(value, property):  # a property depends on the parameters
                several, allowed = DECLARATIONS[name]
                check_declaration(cls, name, value, several=several, allowed=allowed)

    revealed: ClassVar[frozenset[str]] = frozenset()
    """What the run of this part reveals and provides, of ``NEEDS``; set before its needs are checked, and empty
    outside of a run. A part whose needs or hooks depend on it makes ``needs`` a property."""

    stream_length: ClassVar[int | None] = None
    """Number of experiences of the run of this part; set before :meth:`build` if boundaries are visible and the length
    is revealed. Only a part that needs ``length`` may use it."""

    @property
    def title(self) -> str:
        """Return its name in messages: as the user wrote it, if it comes from a recipe."""
        return self.written or type(self).__name__

    written: ClassVar[str] = ""
    """The recipe that the user wrote, followed by the class if the recipe makes several parts; set when it is made."""
    generator: Generator = field(init=False, repr=False, compare=False)
    """The part's own random generator, set when the chain is built; its state is saved with the part's."""

    random_stream: ClassVar[str] = ""
    """The name of the part's random stream, which seeds its generator together with the run's seed. A class that
    declares none uses its class name, so that renaming the class changes its random numbers; declarations are not
    inherited."""

    twin: ClassVar[int] = 0
    """How many parts of its class come before it in the chain, set when the chain is built."""

    @property
    def state(self) -> dict[str, Any]:
        """Return what the part has learned: tensors, numbers, strings, generators, and lists and dicts of them.

        It is saved, restored, moved between devices and counted without further code.
        """
        state: dict[str, Any] = self.__dict__.setdefault("_state", {})
        return state

    def save(self) -> dict[str, Any]:
        """Return a copy of the state, to continue from it; override it for a learner whose state is of another kind."""
        saved: dict[str, Any] = copied(self.state, of=self.title, where="state")
        return saved

    def load(self, saved: dict[str, Any], device: Any = None) -> None:
        """Return to a result of :meth:`save`, its tensors on a device; by default where they were."""
        self.state.clear()
        self.state.update(copied(saved, device))

    @property
    def state_bytes(self) -> int:
        """Return the bytes of tensors that the part keeps."""
        return tensor_bytes(self.state)

    @classmethod
    def settled(cls, settings: dict[str, Any]) -> dict[str, Any]:
        """Return its settings, all written out, as a cell has them: for parts in which a default depends on another
        setting.

        It is not a hook of the loop.
        """
        return settings

    @hook(prepares=True)
    def build(self, model: nn.Module, shape: tuple[int, ...], n_outputs: int) -> nn.Module:
        """Add to the model, or replace layers of it, before its weights become one vector.

        It gets a model on the CPU, the shape of a sample and C, and returns a module of the same form: from samples to
        ``Output``, with its last layer as ``head``. It is called once, before everything else, and again when a kept
        model is read. Draw from torch's generator, which is seeded for the part; what is drawn changes no other random
        number. Keep here only references to modules; what is learned belongs into weights, buffers or :attr:`state`.
        """
        return model

    @hook(prepares=True)
    def attach(self, learner: Learner) -> None:
        """Make what needs the learner, before anything else and again when a run is resumed."""

    @hook(effect=Effect.ROWS)
    def begin_experience(self, learner: Learner, experience: ExperienceView) -> None:
        """Act before the first batch of an experience with a visible boundary."""

    @hook(effect=Effect.ROWS, arranges_rows=True)
    def merge(self, learner: Learner, experience: ExperienceView) -> Tensor | None:
        """Return samples of the replay buffer that are shuffled among those of the experience in every pass.

        They are columns of an index matrix (5, n).

        It is called once, after ``begin_experience``, if the boundary is visible. In a batch these samples are a source
        of their own after the stream's.
        """
        return None

    @hook(effect=Effect.ROWS, arranges_rows=True)
    def order(self, learner: Learner, experience: ExperienceView, epoch: int, order: Tensor) -> Tensor:
        """Change the order and repetition of samples in an experience with a visible boundary.

        Positions (N,) in, positions (any length,) out; those from ``len(experience)`` on are merged samples of the
        replay buffer.
        """
        return order

    @hook(order="masks_classes", effect=Effect.ROWS, arranges_rows=True)
    def batch(self, learner: Learner, batch: Batch) -> None:
        """Append replayed samples, restrict the class mask, skip the batch, or ask for several updates on it.

        Use ``batch.append``, ``batch.mask_classes``, ``batch.skip`` and ``batch.repeat``. Never change samples of
        others. With ``batch.repeat`` above 1 it is called once for every update, ``batch.repetition`` from 0.
        """

    @hook(owned="step")
    def observe(self, learner: Learner, batch: Batch) -> Tensor | None:
        """Learn the batch in a step of the part's own, instead of forward pass, loss, backward pass and update.

        Return the loss, a scalar, if there is one.
        """
        raise NotImplementedError

    @hook(in_step=True, effect=Effect.WEIGHTS)
    def before_step(self, learner: Learner, batch: Batch) -> None:
        """Change the weights before the gradient is computed."""

    @hook()
    def store(self, learner: Learner, batch: Batch, output: Output) -> dict[str, Tensor]:
        """Return side tensors that the replay buffer keeps with the stream's samples, such as logits.

        Each is (samples of the stream, ...). It is called with the output of the step, before its update, whenever the
        samples are offered to the replay buffer; for a skipped step, an output is computed for it. A part that has this
        hook needs a replay buffer that takes samples at steps.
        """
        return {}

    @hook(owned="objective")
    def objective(self, learner: Learner, batch: Batch, output: Output) -> Tensor:
        """Replace the objective of the task family: return the loss, a scalar."""
        raise NotImplementedError

    def plasticity(self, learner: Learner, batch: Batch, output: Output) -> Tensor | None:
        """Return the term of a replaced objective that learns the stream's samples, a scalar, for the gradient probe.

        It is not a hook of the loop, draws nothing and makes no forward pass; ``None`` if no term can be separated.
        """
        return None

    def self_checks(self, learner: Learner) -> list[str]:
        """Return what looks wrong about its own work although nothing failed; called after a run.

        Each text continues a sentence that begins with its name: ``"had no round before the end of the stream"``. It is
        not a hook of the loop.
        """
        return []

    @hook(in_step=True, effect=Effect.TERM)
    def loss(self, learner: Learner, batch: Batch, output: Output) -> Tensor | None:
        """Return a term to add to the loss, a scalar.

        ``None`` adds nothing. The term may use ``learner.w`` (P,). If samples of the replay buffer are merged into an
        experience, a batch may contain none of the stream's.
        """

    @hook(order="gradient_order", in_step=True, effect=Effect.GRADIENT)
    def gradient(self, learner: Learner, batch: Batch) -> None:
        """Change the gradient ``learner.g`` between backward pass and optimiser step.

        It is (P,), and is changed in place.
        """

    @hook(order="gradient_order", in_step=True, effect=Effect.ANY)
    def after_step(self, learner: Learner, batch: Batch) -> None:
        """Read or change the weights after the optimiser step."""

    @hook(order="end_order", effect=Effect.MODEL, effect_if=("end_order", MOVES), prepares=True)
    def end_experience(self, learner: Learner, experience: ExperienceView) -> None:
        """Act after the last batch of an experience with a visible boundary."""

    @hook(effect=Effect.MODEL)
    def end_stream(self, learner: Learner) -> None:
        """Act after the last experience."""

    @hook(owned="answer", reads_out=True)
    def answer(self, learner: Learner, x: Tensor, task: Tensor | None) -> Output:
        """Return logits and features in evaluations, instead of the model.

        ``x`` (B, ...) are the inputs, ``task`` (B,) are their task labels if the stream reveals them. If the part sets
        :attr:`answers_in_training`, it is called in training too.
        """
        raise NotImplementedError

    @hook(reads_out=True)
    def predict(self, learner: Learner, output: Output, task: Tensor | None, scores: Tensor) -> Tensor:
        """Change the scores in evaluations.

        Scores (B, C) in, scores (B, C) out; the class with the highest is predicted.

        ``output`` is the model's output for the samples, ``task`` (B,) are their task labels if the stream reveals
        them. Put what is computed once per evaluation into ``learner.scratch``, which is empty when an evaluation
        begins.
        """
        return scores


HOOKS: dict[str, Hook] = hooks_of(Part)
"""The table of all hooks by name, in the order of a run."""
ROWS = frozenset(name for name, each in HOOKS.items() if each.arranges_rows)
"""The hooks that only arrange samples and do not act on what is made of them."""
Part.allows = frozenset(HOOKS)


def defines(part: Part, name: str) -> bool:
    """Return whether a part has a hook."""
    return getattr(type(part), name) is not getattr(Part, name)


DECLARATIONS: Mapping[str, tuple[bool, frozenset[Any]]] = {
    "needs": (True, NEEDS),
    "allows": (True, frozenset(HOOKS)),
    "gradient_order": (False, frozenset({READS, ADDS, BENDS})),
    "end_order": (False, frozenset({CLOSES, MOVES, KEEPS})),
    "memory_policy": (False, frozenset({None, *POLICIES})),
    "memory_admit": (False, frozenset({None, "first_pass", "every_pass", "end"})),
    "sees": (False, frozenset({"stream", "merged", "accumulated"})),
}
"""Declaration -> whether it is a set of values, and which values are allowed."""
