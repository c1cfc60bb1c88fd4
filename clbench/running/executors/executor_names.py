"""Executors as users write them: ``NAME``, ``NAME:ARGUMENT``, ``FILE.py:NAME`` or ``FILE.py:NAME:ARGUMENT``."""

from __future__ import annotations

import inspect
import re
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from clbench.core.errors import Refused
from clbench.running.executors import EXECUTORS, Executor

if TYPE_CHECKING:
    from clbench.running.options import Options


@dataclass(frozen=True)
class NamedExecutor:
    """Hold an executor that a user has named.

    Args:
        name: The written name.
        run: The executor.
        argument: The text after its name and a colon, such as the address of a cluster; usually empty.
    """

    name: str
    run: Executor
    argument: str = ""

    @property
    def elsewhere(self) -> bool:
        """Return whether cells may run on other machines, whose GPUs this machine does not know."""
        return bool(getattr(self.run, "elsewhere", False))

    def check(self, options: Options) -> None:
        """Refuse options that the executor cannot fulfil, before anything is loaded.

        Raises:
            Refused: The executor cannot do what is requested, or lacks a package.
        """
        if options.gpus_per_cell is not None and not self.elsewhere:
            raise Refused(
                f"the executor {self.name} does not divide GPUs among cells; leave gpus_per_cell out, or use the "
                "executor ray"
            )
        if options.devices and options.executor is not None and split_name(self.name)[0] not in ("local", "workers"):
            raise Refused(
                f"the executor {self.name} does not place cells on several devices; name one device, or use the "
                "executor local"
            )
        own = getattr(self.run, "check", None)
        if own is not None:
            own(options, self.argument)

    @property
    def call(self) -> Executor:
        """Return the executor as a function of a queue, options, jobs and emit."""
        return partial(self.run, argument=self.argument) if self.argument else self.run  # type: ignore[call-arg]


def named_executor(name: str) -> NamedExecutor:
    """Return the executor of a name.

    Raises:
        Refused: There is no such executor (the message suggests the nearest name), or it takes no argument.
    """
    short, argument = split_name(name)
    run = EXECUTORS.get(short)
    if ":" in name.removeprefix(short):
        taken = inspect.signature(run).parameters
        if "argument" not in taken:
            raise Refused(f"the executor {short!r} takes nothing after its name; write {short} in place of {name!r}")
        if not argument:
            raise Refused(f"nothing follows the colon in the executor {name!r}; write {short}:ADDRESS or {short}")
    return NamedExecutor(name, run, argument)


def split_name(name: str) -> tuple[str, str]:
    """Split a written executor into its name and its argument, which is empty if there is none."""
    of_file = re.fullmatch(r"(.+?\.py:[^:]*)(?::(.*))?", name)
    if of_file is not None:
        return of_file[1], of_file[2] or ""
    short, _, argument = name.partition(":")
    return short, argument
