"""What a strategy is made of: parts, each a dataclass whose fields are its hyper-parameters.

A part acts where the loop calls it (``clbench/training/loop.py`` shows every place); a hook that a part does not define
costs nothing. Writing one imports no torch: tensors carry the operations a formula needs.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar

from clbench.core.rng import Generator
from clbench.strategies.hooks import Effect, Hook, hook, hooks_of
from clbench.strategies.part_checks import check_declaration, check_protocol, check_random_stream, check_spelling
from clbench.strategies.part_state import copied, tensor_bytes
from clbench.training.admission import POLICIES

if TYPE_CHECKING:
    from torch import Tensor

    from clbench.training.batch import Batch
    from clbench.training.learner import ExperienceView, Learner, Output

EVERY_FAMILY = frozenset({"every family"})
"""In ``Part.families``: a loss per row is all that the part needs."""
READS, ADDS, BENDS = 0, 1, 2
"""When a part's ``gradient`` acts: it reads the task's gradient, adds to it, or bends the sum; and, in the same order,
its ``after_step``: what reads where the step has led comes before what moves the weights on. Ties: chain order."""

CLOSES, MOVES, KEEPS = 0, 1, 2
"""When a part's ``end_experience`` acts: it closes the experience with the weights that training has led to, moves the
weights on, or keeps what is needed of the model that goes on: importances, anchors, teachers. Ties: chain order."""

NEEDS = frozenset({"task_labels", "boundaries", "memory", "length", "augmentation", "pretrained", "side_tensors"})
"""What a part may declare to need."""


@dataclass(kw_only=True)
class Part:
    """One ingredient of a strategy. Subclass it as a ``@dataclass(kw_only=True)`` and define the hooks it needs.

    Fields are plain numbers and strings and are never changed; what the part learns goes into :attr:`state`.
    Declarations (class variables) say what it needs and touches, so that a chain that cannot work is refused when
    it is built.
    """

    needs: ClassVar[frozenset[str]] = frozenset()
    """What the scenario must reveal or the benchmark provide, of: task_labels, boundaries, memory, length (of the
    stream), augmentation (several views of a row), pretrained (weights to begin with), side_tensors (kept with rows of
    memory; needed without saying by a part that has ``store``)."""
    families: ClassVar[frozenset[str]] = frozenset({"classification"})
    """The families of tasks that its formulas are defined for, by name; :data:`EVERY_FAMILY` where they need nothing
    but a loss per row. In streams of another family the cell is skipped."""
    owns: ClassVar[frozenset[str]] = frozenset()
    """What only one part of a chain may set, such as ``"stream coefficient"``. A part that has ``objective``,
    ``observe`` or ``answer`` owns that without saying."""
    conflicts: ClassVar[dict[str, str]] = {}
    """Name of another part class -> why the two cannot be joined."""
    masks_classes: ClassVar[bool] = False
    """Whether its ``batch`` restricts the class mask: such hooks run behind those that append rows."""
    gradient_order: ClassVar[int] = ADDS
    """When its ``gradient`` and ``after_step`` act among those of others: :data:`READS`, :data:`ADDS` or
    :data:`BENDS`."""
    end_order: ClassVar[int] = KEEPS
    """When its ``end_experience`` acts among those of others: :data:`CLOSES`, :data:`MOVES` or :data:`KEEPS`."""
    memory_policy: ClassVar[str | None] = None
    """The admission policy that the method's paper needs; ``None`` takes the benchmark's."""
    memory_admit: ClassVar[str | None] = None
    """The moment of admission that the method's paper needs; ``None`` takes the benchmark's."""
    sees: ClassVar[str] = "stream"
    """What it trains on: the ``stream`` as it comes, or, for upper bounds that break its rules, experiences ``merged``
    into one or ``accumulated`` from the first to the current."""
    engine: ClassVar[str] = ""
    """The library whose own loop runs the part, such as ``avalanche``; none for clbench's."""
    allows: ClassVar[frozenset[str]]
    """The hooks in which other parts of a chain may act; all by default, and :data:`ROWS` for a learner with a step
    of its own."""
    uses_model: ClassVar[bool] = True
    """Whether the benchmark's model is used."""
    protocol: ClassVar[Mapping[str, Any]] = {}
    """Settings of a benchmark without which the method is another one, by its source: ``{"stream.output": "all"}``; a
    tuple of values where several will do. Where a cell has another value it runs all the same, with an alarm."""
    identity: ClassVar[Mapping[str, Any] | None] = None
    """The parameters at which the part does nothing, such as ``{"strength": 0}``; ``None`` where it always acts."""

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
            elif name == "protocol" and not isinstance(value, property):
                check_protocol(cls, value)
            elif name in DECLARATIONS and not isinstance(value, property):  # one that depends on the parameters
                several, allowed = DECLARATIONS[name]
                check_declaration(cls, name, value, several=several, allowed=allowed)

    @property
    def title(self) -> str:
        """How messages call it: as the user wrote it, where it came from a recipe."""
        return self.written or type(self).__name__

    written: ClassVar[str] = ""
    """The recipe that the user wrote, and behind it the class where the recipe makes several parts; given with it."""
    generator: Generator = field(init=False, repr=False, compare=False)
    """The part's own randomness, given when the chain is built; its state is saved with the part's."""

    random_stream: ClassVar[str] = ""
    """The name of the part's random stream, which seeds its generator together with the run's seed. A class that
    declares none draws from a stream of its class name, so that renaming the class changes its numbers; a parent's
    declaration does not count."""

    twin: ClassVar[int] = 0
    """How many parts of its class stand before it in the chain, given when the chain is built."""

    @property
    def state(self) -> dict[str, Any]:
        """What the part has learned: tensors, numbers, strings, generators, and lists and dicts of them.

        It is saved, restored, moved between devices and counted without further code.
        """
        state: dict[str, Any] = self.__dict__.setdefault("_state", {})
        return state

    def save(self) -> dict[str, Any]:
        """A copy of the state, to go on from; for learners whose state is of another kind to override."""
        saved: dict[str, Any] = copied(self.state, of=self.title, where="state")
        return saved

    def load(self, saved: dict[str, Any], device: Any = None) -> None:
        """Return to what :meth:`save` gave, its tensors on a device; by default where they were."""
        self.state.clear()
        self.state.update(copied(saved, device))

    @property
    def state_bytes(self) -> int:
        """Bytes of tensors that the part keeps."""
        return tensor_bytes(self.state)

    @classmethod
    def settled(cls, settings: dict[str, Any]) -> dict[str, Any]:
        """Its settings, all written out, as they enter a cell: for parts in which a default depends on another setting.
        Not a hook of the loop."""
        return settings

    @hook(prepares=True)
    def attach(self, learner: Learner) -> None:
        """Make what needs the learner, before anything and again when a run is resumed."""

    @hook(effect=Effect.ROWS)
    def begin_experience(self, learner: Learner, experience: ExperienceView) -> None:
        """Act before the first batch of an experience whose boundary is visible."""

    @hook(effect=Effect.ROWS, arranges_rows=True)
    def merge(self, learner: Learner, experience: ExperienceView) -> Tensor | None:
        """Return samples of the replay buffer, which are shuffled among those of the experience on every pass.

        They are columns of an index matrix (5, n).

        Asked once, behind ``begin_experience``, where the boundary is visible. In a batch they are a source of their
        own behind the stream's.
        """
        return None

    @hook(effect=Effect.ROWS, arranges_rows=True)
    def order(self, learner: Learner, experience: ExperienceView, epoch: int, order: Tensor) -> Tensor:
        """Change the order and repetition of samples in an experience whose boundary is visible.

        Positions (N,) in, positions (any length,) out; those from ``len(experience)`` on are merged rows of memory.
        """
        return order

    @hook(order="masks_classes", effect=Effect.ROWS, arranges_rows=True)
    def batch(self, learner: Learner, batch: Batch) -> None:
        """Append replayed samples, restrict the class mask, or skip the batch.

        The means are ``batch.append``, ``batch.mask_classes`` and ``batch.skip``. Never rewrite rows of others.
        """

    @hook(owned="step")
    def observe(self, learner: Learner, batch: Batch) -> Tensor | None:
        """Learn the batch in a step of the part's own, in place of forward pass, loss, backward pass and update.

        Returns the loss, a scalar, where there is one.
        """
        raise NotImplementedError

    @hook(in_step=True, effect=Effect.WEIGHTS)
    def before_step(self, learner: Learner, batch: Batch) -> None:
        """Move the weights before the gradient is taken."""

    @hook()
    def store(self, learner: Learner, batch: Batch, output: Output) -> dict[str, Tensor]:
        """Return side tensors that the replay buffer keeps with the stream's samples, such as logits.

        Each is (rows of the stream, ...). Asked with the output of the very step, before its update, wherever the rows
        are offered to memory; where a step is skipped, with an output made for it. A part that has this hook needs a
        memory that takes rows at steps.
        """
        return {}

    @hook(owned="objective")
    def objective(self, learner: Learner, batch: Batch, output: Output) -> Tensor:
        """Replace the objective of the task family: return the loss, a scalar."""
        raise NotImplementedError

    def plasticity(self, learner: Learner, batch: Batch, output: Output) -> Tensor | None:
        """Of a replaced objective, the term that learns the stream's rows, for ``clbench.training.probe``: a scalar.

        Not a hook of the loop. Draws nothing and sends nothing forward; ``None`` where no term can be told apart.
        """
        return None

    def self_checks(self, learner: Learner) -> list[str]:
        """What looks wrong of its own work although nothing failed, asked after a run; how its sentence goes on behind
        its name: ``"had no round before the end of the stream"``. Not a hook of the loop."""
        return []

    @hook(in_step=True, effect=Effect.TERM)
    def loss(self, learner: Learner, batch: Batch, output: Output) -> Tensor | None:
        """Return a term to add to the loss, a scalar.

        ``None`` adds nothing. The term may use ``learner.w`` (P,). Where rows of memory are merged into an experience,
        a batch may hold none of the stream's.
        """

    @hook(order="gradient_order", in_step=True, effect=Effect.GRADIENT)
    def gradient(self, learner: Learner, batch: Batch) -> None:
        """Change the gradient ``learner.g`` between backward pass and optimiser step.

        It is (P,), and changed in place.
        """

    @hook(order="gradient_order", in_step=True, effect=Effect.ANY)
    def after_step(self, learner: Learner, batch: Batch) -> None:
        """Read or change the weights after the optimiser step."""

    @hook(order="end_order", effect=Effect.MODEL, effect_if=("end_order", MOVES), prepares=True)
    def end_experience(self, learner: Learner, experience: ExperienceView) -> None:
        """Act after the last batch of an experience whose boundary is visible."""

    @hook(effect=Effect.MODEL)
    def end_stream(self, learner: Learner) -> None:
        """Act after the last experience."""

    @hook(owned="answer", reads_out=True)
    def answer(self, learner: Learner, x: Tensor, task: Tensor | None) -> Output:
        """Return logits and features in evaluations, in place of the model.

        ``x`` (B, ...) are the inputs, ``task`` (B,) are their task labels where the stream reveals them.
        """
        raise NotImplementedError

    @hook(reads_out=True)
    def predict(self, learner: Learner, output: Output, task: Tensor | None, scores: Tensor) -> Tensor:
        """Change the scores in evaluations.

        Scores (B, C) in, scores (B, C) out; the class with the highest is predicted.

        ``output`` is what the model made of the rows, ``task`` (B,) their task labels where the stream reveals them.
        What is worked out once for a whole look goes into ``learner.scratch``, which every look begins empty.
        """
        return scores


HOOKS: dict[str, Hook] = hooks_of(Part)
"""The table of all hooks by name, in the order of a run."""
ROWS = frozenset(name for name, each in HOOKS.items() if each.arranges_rows)
"""The hooks that arrange rows, and leave alone what is made of them."""
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
"""Declaration -> whether it is a set of them, and what is allowed."""
