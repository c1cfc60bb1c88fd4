"""The request to stop the run of this process: it is saved at the end of its step, or inside of an evaluation.

A signal handler makes the request. Whoever runs a cell asks for it after each step, and the evaluator between two
chunks of samples. There the run can be saved, so that they raise :class:`Interrupted`.
"""

from __future__ import annotations

_asked = _steps = False


class Interrupted(BaseException):
    """Stop a run after saving it; a tick raises this.

    Args:
        savable: Whether the run stands where it can be saved.
    """

    def __init__(self, *, savable: bool = True) -> None:
        super().__init__("the run is asked to stop")
        self.savable = savable


class EvaluationInterrupted(Interrupted):
    """Stop a run inside of an evaluation, of which nothing is recorded.

    Args:
        kind: The value of :class:`clbench.core.record.Kind` of the evaluation.
        experience: The experience that it names.
    """

    def __init__(self, kind: int, experience: int) -> None:
        super().__init__()
        self.kind, self.experience = kind, experience


def ask_to_stop() -> None:
    """Ask the run of this process to stop."""
    global _asked
    _asked = True


def asked_to_stop() -> bool:
    """Return whether the run of this process is asked to stop."""
    return _asked


def note_step() -> None:
    """Note that a run of this process has made a step: from now on it can be asked to stop."""
    global _steps
    _steps = True


def makes_steps() -> bool:
    """Return whether a run of this process makes steps, so that there is something to save."""
    return _steps


def end_steps() -> None:
    """Note that no run of this process makes steps any more."""
    global _steps
    _steps = False


def forget_stop() -> None:
    """Withdraw the request, after the run has stopped."""
    global _asked
    _asked = False
