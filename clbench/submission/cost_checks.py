"""Check that the cost of a record agrees with its cell and its trace, so that it is not understated."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import Any

import numpy as np

from clbench.core.record import Kind, Trace
from clbench.submission.check_results import Said, Subject
from clbench.submission.rebuilt_streams import PartFacts, StreamFacts
from clbench.submission.schedule_checks import epochs_of
from clbench.submission.trusted_code import foreign_code
from clbench.training.batch_splits import BatchSplit

CHECK = "cost"
MOST_WEIGHTS = 100_000_000
"""Models that may have more weights are not made again."""
ROUNDING = 1e-3
"""Seconds within which times agree."""


def cost(subject: Subject) -> Iterator[Said]:
    """Check steps, samples, evaluations, weights, operations and times of a finished run."""
    trace, held = subject.trace, subject.record.cost
    if trace is None or subject.record.status != "done":
        return
    if not held:
        yield subject.finding(CHECK, "is done and names no cost")
        return
    yield from _counts(subject, trace, held)
    yield from _samples(subject, held)
    yield from _operations(subject, held)
    yield from _model(subject, held)


def _counts(subject: Subject, trace: Trace, held: Mapping[str, float]) -> Iterator[Said]:
    looks, steps = len(trace.step), int(trace.step[-1])
    if held.get("looks") != looks:
        yield subject.finding(CHECK, f"names {held.get('looks', 0):g} evaluations, and its trace has {looks}")
    parts = subject.rebuilt.parts(subject.record)
    if isinstance(parts, str) or parts.skips:
        yield subject.unchecked(CHECK, "optimiser steps: the strategy may leave out steps or make its own")
    elif held.get("steps", 0) < steps:
        yield subject.finding(CHECK, f"names {held.get('steps', 0):g} optimiser steps, and its trace has {steps}")
    yield from _evaluated(subject, trace, held)
    if trace.seconds.size and held.get("train_seconds", 0.0) < float(trace.seconds[-1]) - ROUNDING:
        if held.get("probe_seconds"):
            yield subject.unchecked(CHECK, "training time: the time of the probe is subtracted from it")
        else:
            yield subject.finding(
                CHECK,
                f"names {held.get('train_seconds', 0.0):.4g} s of training, and its trace has {trace.seconds[-1]:.4g} "
                "s before its last evaluation",
            )


def _evaluated(subject: Subject, trace: Trace, held: Mapping[str, float]) -> Iterator[Said]:
    """Check the number of samples of evaluations: at least those of all evaluations that pass samples."""
    found = ~np.isnan(trace.score) if not trace.competing.size else (~np.isnan(trace.score)) | (trace.competing > 0)
    per_look = np.where(found, trace.rows, 0)
    passed = trace.kind != Kind.SWITCH  # one at a switch passes none if nothing has changed
    stream = subject.stream
    shared = not isinstance(stream, StreamFacts) or stream.shared
    # tasks may share all of their samples, and each sample then goes through the model once
    least = int((per_look.max(axis=1) if shared else per_look.sum(axis=1))[passed].sum())
    if held.get("evaluation_rows", 0) < least:
        yield subject.finding(
            CHECK,
            f"names {held.get('evaluation_rows', 0):,.0f} samples in evaluations, and those of its trace pass at "
            f"least {least:,}",
        )


def _samples(subject: Subject, held: Mapping[str, float]) -> Iterator[Said]:
    """Check the number of samples of the stream that were learned."""
    stream, parts = subject.stream, subject.rebuilt.parts(subject.record)
    if isinstance(stream, str) or isinstance(parts, str):
        yield subject.unchecked(CHECK, f"samples of the stream: {stream}")
        return
    training = subject.record.cell["training"]
    wanted = samples_of(training, stream)
    if held.get("stream_rows") in wanted:
        pass
    elif parts.engine or parts.skips or parts.arranges or training.get("stop") is not None:
        yield subject.unchecked(CHECK, "samples of the stream: the strategy decides how many it learns")
    else:
        yield subject.finding(
            CHECK,
            f"names {held.get('stream_rows', 0):,.0f} learned samples of the stream, and its settings give "
            f"{wanted[0]:,}",
        )
    memory = subject.record.cell.get("memory") or {}
    if memory.get("size") == 0 and held.get("replay_rows") and not parts.engine:
        yield subject.finding(CHECK, "names samples of a replay buffer, and its settings have none")
    if not parts.keeps:
        return
    if memory.get("policy") != "reservoir" or parts.engine:
        yield subject.unchecked(CHECK, "bytes of the replay buffer: its policy decides how many samples it holds")
        return
    least = min(memory.get("size", 0), sum(stream.sizes), wanted[0]) * stream.row_bytes  # a reservoir fills up
    if held.get("memory_bytes", 0) < least:
        yield subject.finding(
            CHECK, f"names {held.get('memory_bytes', 0):,.0f} bytes of memory, and its replay buffer takes {least:,}"
        )


def samples_of(training: Mapping[str, Any], stream: StreamFacts) -> list[int]:
    """Return the number of samples of the stream that are learned: two answers, as in
    :func:`clbench.submission.schedule_checks.steps_of`.

    Args:
        training: The section of the cell.
        stream: The facts of its stream.
    """
    return [
        sum(_of_experience(training, e, size, stream.share, fewest) for e, size in enumerate(stream.sizes))
        for fewest in (1, 2)
    ]


def _of_experience(training: Mapping[str, Any], number: int, size: int, share: int, fewest: int) -> int:
    spans = BatchSplit(training["batch_size"], bool(training.get("drop_last")), fewest).spans(size)
    lengths = [stop - start for start, stop in spans]
    iterations = training.get("iterations")
    if iterations is None:
        return epochs_of(training, number) * sum(lengths)
    if not lengths:
        return 0
    whole, left = divmod(iterations * share, len(lengths))
    return int(whole * sum(lengths) + sum(lengths[:left]))


def _operations(subject: Subject, held: Mapping[str, float]) -> Iterator[Said]:
    """Check that the numbers of operations are those of the numbers of samples."""
    if not held.get("evaluation_flops") or not held.get("evaluation_rows"):
        yield subject.unchecked(CHECK, "floating-point operations: the record holds none")
        return
    forward = held["evaluation_flops"] / held["evaluation_rows"]
    both = held.get("stream_rows", 0) + held.get("replay_rows", 0)
    backward_rows = both + held.get("extra_backward_rows", 0)
    rest = held.get("train_flops", 0) - (both + held.get("extra_forward_rows", 0)) * forward
    backward = rest / backward_rows if backward_rows else 0.0
    if forward != round(forward) or backward != round(backward) or backward < 0 or (not backward_rows and rest):
        yield subject.finding(
            CHECK,
            "names numbers of operations and of samples that do not belong together: a sample would take "
            f"{forward:,.6g} forward and {backward:,.6g} backward",
        )


def _model(subject: Subject, held: Mapping[str, float]) -> Iterator[Said]:
    """Check the number of weights, and the operations of one sample, against the model made again."""
    stream, parts = subject.stream, subject.rebuilt.parts(subject.record)
    model = subject.record.cell.get("model") or {}
    if isinstance(stream, str) or not isinstance(parts, PartFacts) or any(foreign_code({"model": model})):
        yield subject.unchecked(CHECK, "the number of weights: model or stream cannot be made here")
        return
    if not parts.uses_model:
        return
    network = {name: value for name, value in model.items() if name != "heads"}
    if network.get("weights") is not None or str(network.get("name")).startswith(("torchvision:", "given")):
        yield subject.unchecked(CHECK, "the number of weights: the model is not clbench's own")
        return
    strategy = json.dumps(subject.record.cell["strategy"], sort_keys=True) if parts.builds else ""
    made = _made(
        json.dumps(network, sort_keys=True), strategy, stream.shape, stream.n_outputs, stream.tokens, len(stream.sizes)
    )
    if isinstance(made, str):
        yield subject.unchecked(CHECK, f"the number of weights: {made}")
        return
    if parts.engine:
        return
    weights, forward, backward = made
    if held.get("weights") != weights:
        yield subject.finding(CHECK, f"names {held.get('weights', 0):,.0f} weights, and its model has {weights:,}")
    if "evaluation_flops" not in held and "train_flops" not in held:  # as in older records
        return
    both = held.get("stream_rows", 0) + held.get("replay_rows", 0)
    forward_rows, backward_rows = (both + held.get(f"extra_{way}_rows", 0) for way in ("forward", "backward"))
    for name, own, what in (
        ("evaluation_flops", held.get("evaluation_rows", 0) * forward, "evaluations"),
        ("train_flops", forward_rows * forward + backward_rows * backward, "training"),
    ):
        if held.get(name) != own:
            yield subject.finding(
                CHECK,
                f"names {held.get(name, 0):,.0f} operations of {what}, and its model takes {own:,.0f} for its samples",
            )


@lru_cache(maxsize=64)
def _made(
    written: str, strategy: str, shape: tuple[int, ...], n_outputs: int, tokens: bool, length: int
) -> tuple[int, int, int] | str:
    """Return the trainable weights of a model and its operations for one sample, or why it was not made.

    Args:
        written: Name and settings of the model, as JSON.
        strategy: The canonical form of the strategy, as JSON, if its parts add to the model; else empty.
        shape: The shape of one sample.
        n_outputs: C, output units.
        tokens: Whether samples are int64 tokens.
        length: Number of experiences that the strategy sees.
    """
    from clbench.core.global_rng import preserved
    from clbench.models.flops import per_row
    from clbench.models.initial_model import initial_model
    from clbench.strategies.chain import Chain
    from clbench.strategies.strategy import Strategy

    try:
        settings, items = json.loads(written), json.loads(strategy or "[]")
        sizes = sorted([*map(abs, _sizes([settings, items])), math.prod(shape), n_outputs], reverse=True)
        parts = Strategy.of(items, "").parts() if items else []
        copies = length if any("length" in part.needs for part in parts) else 1
        if copies * len(sizes) * sizes[0] * sizes[1] > MOST_WEIGHTS:
            return "the model may be too large to be made here"
        for part in parts:
            part.__dict__["stream_length"] = length
        with preserved("cpu"):
            model = initial_model(settings, shape, n_outputs, seed=0, given=None, tokens=tokens)
            if parts:
                model = Chain(parts, seed=0).built(model, shape, n_outputs, tokens=tokens)
            weights = sum(weight.numel() for weight in model.parameters() if weight.requires_grad)
            return weights, *per_row(model.train(), shape, tokens=tokens)
    except Exception as error:  # settings of strangers may be impossible in any way
        return f"the model cannot be made here ({type(error).__name__})"


def _sizes(value: Any) -> Iterator[float]:
    if isinstance(value, int | float):
        yield value
    elif isinstance(value, Mapping | list):
        for held in value.values() if isinstance(value, Mapping) else value:
            yield from _sizes(held)
