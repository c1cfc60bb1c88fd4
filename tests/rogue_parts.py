"""Parts that leave their process, hang, hold memory or start processes; these are few, and end by themselves soon."""

import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import clbench

MOST = 3
"""Processes that a part here ever starts, over all its copies; each sleeps for 20 seconds at most."""


def count(folder: str) -> int:
    """How many processes have been started, this one included; copies and their parents count in the same folder."""
    numbers = range(1, MOST + 2)
    for number in numbers:
        try:
            (Path(folder) / f"start{number}").touch(exist_ok=False)
        except FileExistsError:
            continue
        return number
    return MOST + 1


class Mute(Exception):
    """It cannot say what it is."""

    def __str__(self):
        raise RuntimeError("no words")


@dataclass(kw_only=True)
class Rogue(clbench.Part):
    """At its fifth step it does something that no part should."""

    how: str
    folder: str = "."

    def after_step(self, learner, batch):
        self.state["steps"] = self.state.get("steps", 0) + 1
        if self.how == "fork":
            self.fork()
        elif self.state["steps"] == 5:
            getattr(self, self.how)()

    def fork(self):
        if count(self.folder) <= MOST and os.fork() == 0:
            (Path(self.folder) / f"copy{os.getpid()}").touch()

    def fork_and_stay(self):
        if count(self.folder) <= MOST and os.fork() == 0:
            (Path(self.folder) / f"copy{os.getpid()}").touch()
            time.sleep(20)

    def sleeper(self):
        if count(self.folder) <= MOST:
            process = subprocess.Popen(["sleep", "20"])
            process.returncode = 0  # nobody waits for it
            (Path(self.folder) / f"copy{process.pid}").touch()

    def runaway(self):
        """One that leaves its session and its parent."""
        if count(self.folder) <= MOST:
            code = "import os, sys, time; os.fork() and os._exit(0); open(sys.argv[1] + str(os.getpid()), 'w')"
            place = str(Path(self.folder) / "copy")
            command = [sys.executable, "-c", f"{code}; time.sleep(20)", place]
            earlier = set(Path(self.folder).glob("copy*"))  # of other parts
            subprocess.run(command, start_new_session=True, check=True)
            while set(Path(self.folder).glob("copy*")) == earlier:
                time.sleep(0.05)

    def leave(self):
        os._exit(7)

    def python_exit(self):
        sys.exit(3)

    def mute(self):
        raise Mute

    def interrupt(self):
        signal.raise_signal(signal.SIGINT)
        time.sleep(1)

    def terminate(self):
        signal.raise_signal(signal.SIGTERM)

    def kill(self):
        os.kill(os.getpid(), signal.SIGKILL)

    def hang(self):
        while True:
            time.sleep(0.01)

    def swell(self):
        held = []
        while True:
            held.append(bytearray(b"x" * 50_000_000))
            time.sleep(0.1)
