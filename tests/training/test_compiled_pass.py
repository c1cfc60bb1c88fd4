"""The pass of a step is compiled, and nothing else is; weights are those of the model as it is, but for rounding."""

from __future__ import annotations

import re

import pytest
import torch
from support import ready, train_until

from clbench.core.errors import Refused

COMPILED = "training.compile=true"


@pytest.fixture
def traced(monkeypatch):
    """Compile without a C++ compiler: graphs are recorded, with their number of calls, and run as they are."""
    calls, usual = [], torch.compile

    def record(graph, _):
        def run(*inputs):
            calls.append(torch.is_autocast_enabled("cpu"))
            return graph(*inputs)

        return run

    monkeypatch.setattr(torch, "compile", lambda function: usual(function, backend=record))
    yield calls
    torch.compiler.reset()


@pytest.mark.parametrize("changes", [(), ("training.precision=bfloat16",), ("training.channels_last=true",)])
def test_every_step_runs_compiled_code_once_and_ends_with_the_weights_of_the_model_as_it_is(traced, changes):
    compiled = train_until(ready("er", COMPILED, "evaluation.every=1", *changes), 12)
    assert len(traced) == 12, "evaluations are not compiled"
    assert set(traced) == {bool(changes) and "bfloat16" in changes[0]}
    plain = train_until(ready("er", "evaluation.every=1", *changes), 12)
    torch.testing.assert_close(compiled.learner.w, plain.learner.w, rtol=1e-5, atol=1e-6)
    assert "forward" not in vars(compiled.learner.model)


def test_importances_use_the_model_as_it_is(traced):
    run = ready("ewc(strength=1)", COMPILED)
    run.train()
    assert len(traced) == run.cursor.step


@pytest.mark.parametrize(
    ("strategy", "changes", "words"),
    [
        ("naive", ("training.accumulate=2",), "training.compile and training.accumulate both replace the pass"),
        (
            "slda",
            (),
            "training.compile is for the model's own pass, and a part of this strategy makes the steps",
        ),
    ],
)
def test_what_cannot_be_compiled_is_refused(strategy, changes, words):
    with pytest.raises(Refused, match=re.escape(words)):
        ready(strategy, COMPILED, *changes)
