"""A strategy at work: an ordered list of parts, checked when it is built, and their hooks for the loop."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from clbench.core.errors import Refused, did_you_mean
from clbench.core.rng import Generator, derive
from clbench.strategies.effects import WatchedHook
from clbench.strategies.hooks import Hook
from clbench.strategies.part import ADDS, EVERY_FAMILY, HOOKS, NEEDS, Part, defines
from clbench.training.buffer_policies import POLICIES, Chosen

if TYPE_CHECKING:
    from torch import nn

NO_BUFFER = "a replay buffer, and the benchmark's memory has size 0"
"""The need of a cell that is skipped because its benchmark gives no replay buffer, which is seldom meant."""
MEANING = {
    "task_labels": "task labels, which this stream hides",
    "boundaries": "visible boundaries between experiences, which this stream hides",
    "memory": NO_BUFFER,
    "length": "the length of the stream, which is not revealed (reveal: [length] in the benchmark reveals it)",
    "augmentation": "several views of a sample, and the benchmark's training.augment is none",
    "pretrained": "a model with pretrained weights, and the benchmark's has random ones",
    "side_tensors": "side tensors kept with samples of the replay buffer, which it takes only at steps "
    "(memory.admit first_pass or every_pass, and no policy of herding)",
    "convolutions": "a model with convolutions, and the benchmark's has none (choose cnn or resnet, for example)",
    "linear_layers": "a model with linear layers before the last one, and the benchmark's has none (choose mlp or vit, "
    "for example)",
    "transformer": "a vision transformer, and the benchmark's model is none (choose vit, or pretrained with weights of "
    "one)",
    "single_tasks": "experiences of one task each, and this stream mixes tasks in an experience",
}


class Chain:
    """Hold parts in order and, for each hook, the bound methods of the parts that define it.

    Each hook of the table ``clbench.strategies.part.HOOKS`` is an attribute: a tuple of methods in the order in which
    they act. If only one part may have the hook, it is that method or ``None``.

    Args:
        parts: The strategy, already checked by :func:`check`.
        seed: The run's seed. Each part gets a generator of its own, named by :func:`stream_name`, so that adding a part
            never changes the random numbers of another.
        single: Whether the stream has only one experience.
    """

    def __init__(self, parts: Sequence[Part], *, seed: int, single: bool = False) -> None:
        self.parts = tuple(parts)
        self._seed, self._single = seed, single
        for number, part in enumerate(self.parts):
            part.__dict__["twin"] = sum(type(p) is type(part) for p in self.parts[:number])
            part.generator = Generator(seed, f"part/{stream_name(type(part))}/{part.twin}")
        self.watched: list[WatchedHook] = []
        for name, hook in HOOKS.items():
            acting = self._hooks(hook)
            setattr(self, name, next(iter(acting), None) if hook.owned else acting)
        self.adds: tuple[Callable[..., None], ...] = tuple(
            part.gradient
            for part in self._having(HOOKS["gradient"])
            if part.gradient_order <= ADDS  # readers add their own penalty after reading
        )

    @property
    def answers_in_training(self) -> bool:
        """Tell whether a part's ``answer`` replaces the model in training too."""
        return any(part.answers_in_training and defines(part, "answer") for part in self.parts)

    if TYPE_CHECKING:

        def __getattr__(self, name: str) -> Any:
            """Return a hook, by the table of hooks."""

    def _having(self, hook: Hook) -> list[Part]:
        """Return the parts that have a hook, in the order in which they act."""
        parts = [part for part in self.parts if defines(part, hook.name)]
        return sorted(parts, key=lambda part: getattr(part, hook.order)) if hook.order else parts

    def _hooks(self, hook: Hook) -> tuple[Callable[..., Any], ...]:
        acting: list[Callable[..., Any]] = []
        for part in self._having(hook):
            method = getattr(part, hook.name)
            if hook.is_watched(part):
                method = WatchedHook(method, part, hook, self._single)
                self.watched.append(method)
            acting.append(method)
        return tuple(acting)

    def built(self, model: nn.Module, shape: tuple[int, ...], n_outputs: int, *, tokens: bool = False) -> nn.Module:
        """Return the model with what parts add to it, in chain order.

        Each part draws from torch's generator, seeded by the run's seed and the name of its random stream. Afterwards
        the generator is as before. Without such a part it is the model itself.

        Args:
            model: On the CPU, with the run's initial weights.
            shape: The shape of one sample.
            n_outputs: C, output units.
            tokens: Whether samples are int64 tokens.

        Raises:
            Refused: A part returns no module of the form that clbench needs.
        """
        for part in self._having(HOOKS["build"]):
            from clbench.strategies.built_model import built_by

            seed = derive(self._seed, f"build/{stream_name(type(part))}/{part.twin}")
            model = built_by(part, model, shape, n_outputs, seed=seed, tokens=tokens)
        return model

    def snapshot(self) -> dict[str, Any]:
        """Return state and generator of every part, and what was noticed of their effects."""
        parts = [{"state": part.save(), "generator": part.generator.state} for part in self.parts]
        return {"parts": parts, "watches": [hook.state for hook in self.watched]}

    def restore(self, snapshot: dict[str, Any], device: Any = None) -> None:
        """Return to a snapshot; the state of parts goes to a device, by default where it was."""
        for part, saved in zip(self.parts, snapshot["parts"], strict=True):
            part.load(saved["state"], device)
            part.generator.state = saved["generator"]
        for hook, counts in zip(self.watched, snapshot["watches"], strict=True):
            hook.state = counts

    @property
    def bytes(self) -> int:
        """Return the bytes of tensors that the parts keep."""
        return sum(part.state_bytes for part in self.parts)


def stream_name(kind: type[Part]) -> str:
    """Return the name of a part class's random stream: what the class itself declares, else the name of the class.

    A declaration is not inherited: a subclass draws other numbers than its parent.
    """
    return vars(kind).get("random_stream") or kind.__name__


def check(parts: Sequence[Part]) -> None:
    """Refuse a chain whose parts cannot be combined.

    Raises:
        Refused: Two owners of the same role, two memory policies, two views of the stream, a declared conflict, or a
            need that does not exist.
    """
    names, classes = [part.title for part in parts], [type(part).__name__ for part in parts]
    owner: dict[str, str] = {}
    for part, name in zip(parts, names, strict=True):
        for need in part.needs - NEEDS:
            raise Refused(f"{name} needs {need!r}, which does not exist; {did_you_mean(need, NEEDS)}")
        for role in part.owns | {hook.owned for name, hook in HOOKS.items() if hook.owned and defines(part, name)}:
            if role in owner:
                raise Refused(f"{owner[role]} and {name} cannot be joined: both set the {role}; keep one of them")
            owner[role] = name
        for other, why in part.conflicts.items():
            if other in classes:
                raise Refused(f"{name} and {names[classes.index(other)]} cannot be joined: {why}")
        for other_part, other in zip(parts, names, strict=True):
            if other_part is not part and {hook for hook in HOOKS if defines(other_part, hook)} - part.allows:
                raise Refused(f"{name} and {other} cannot be joined: {_why_not(part, other_part)}")
            if defines(other_part, "store") and part.memory_policy and POLICIES[part.memory_policy] is Chosen:
                raise Refused(
                    f"{name} and {other} cannot be joined: the first selects itself what the replay buffer keeps, "
                    "and the second needs side tensors that samples get when they are stored at steps; keep one of them"
                )
    for attribute, what in (("memory_policy", "memory policies"), ("memory_admit", "moments of admission")):
        wanted = {value for part in parts if (value := getattr(part, attribute)) is not None}
        if len(wanted) > 1:
            raise Refused(
                f"{' + '.join(names)} asks for two {what} ({', '.join(sorted(wanted))}); keep one of the parts"
            )
    bounds = {part.sees for part in parts} - {"stream"}
    if len(bounds) > 1:
        raise Refused("'joint' and 'cumulative' cannot be joined: one merges the stream, the other accumulates it")


def _why_not(part: Part, other: Part) -> str:
    if part.engine:
        return f"the first runs in the loop of {part.engine}, which has only parts of its own"
    return (
        "the first makes its own step, which allows only parts that arrange samples, as er does; "
        f"{other.title} does more"
    )


def unmet(parts: Sequence[Part], revealed: frozenset[str]) -> str:
    """Say why a chain cannot run on a stream that reveals only these; empty if it can."""
    for part in parts:
        for need in sorted(needs_of(part) - revealed):
            return f"{part.title} needs {MEANING[need]}"
    return ""


def families_of(parts: Sequence[Part]) -> list[str]:
    """Return the names of the families of tasks that all parts of a chain are defined for; empty for every family."""
    named = [part.families for part in parts if not part.families & EVERY_FAMILY]
    return sorted(frozenset.intersection(*map(frozenset, named))) if named else []


def undefined(parts: Sequence[Part], family: str) -> str:
    """Say why a chain cannot run on a stream of a family of tasks; empty if it can."""
    for part in parts:
        if not part.families & {family, *EVERY_FAMILY}:
            return (
                f"{part.title} is defined for {' and '.join(sorted(part.families))}, and this stream is of the family "
                f"{family}"
            )
    return ""


def needs_of(part: Part) -> frozenset[str]:
    """Return the needs of a part: those that it declares, and those that its hooks and its memory imply."""
    implied = {"side_tensors"} if defines(part, "store") else set()
    if part.memory_admit == "end" or part.memory_policy == "per_experience":
        implied.add("boundaries")
    return part.needs | implied
