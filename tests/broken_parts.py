"""Parts that each break one property of the contract, and honest ones; named in tests as FILE.py:NAME."""

import gc
import os
import random
import time
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np
import torch

import clbench
from clbench.models.output import Output
from clbench.strategies.l2p import L2P
from clbench.training.batch import Y
from clbench.training.trainer import Trainer

NOTHING = 3


def stream_of(learner):
    """What no part is given: the stream behind the learner, found among all living objects by their very type.

    ``isinstance`` asks an object for its ``__class__``, at which some objects of torch warn.
    """
    if "trainer" not in vars(learner):
        learner.trainer = next(t for t in gc.get_objects() if type(t) is Trainer and t.learner is learner)
    return learner.trainer._stream


def recipe(*, strength: float = 0.01):
    return [Honest(strength=strength)]


@dataclass(kw_only=True)
class Honest(clbench.Part):
    """Noise of its own on the gradient, and a pull to a running mean: state, draws and an identity."""

    strength: float = 0.01
    identity: ClassVar = {"strength": 0}

    def gradient(self, learner, batch):
        w, n = learner.w.detach(), self.state.get("steps", 0) + 1
        mean = self.state.get("mean", w.clone())
        self.state["mean"], self.state["steps"] = mean + (w - mean) / n, n
        noise = torch.from_numpy(self.generator.uniform(len(w))).to(w)
        learner.g.add_(w - self.state["mean"] + noise, alpha=self.strength)


class Act(clbench.Part):
    def gradient(self, learner, batch):
        learner.g.mul_(1 + self.by(learner, batch))


class Counts(Act):  # on the class, from run to run
    calls = 0

    def by(self, learner, batch):
        Counts.calls += 1
        return 1e-4 * Counts.calls


class Forgets(Act):  # outside of state
    def by(self, learner, batch):
        self.calls = getattr(self, "calls", 0) + 1
        return 0.01 * self.calls


class Aliases(clbench.Part):  # a view of the weights, in state
    def gradient(self, learner, batch):
        old = self.state.setdefault("old", learner.w.detach())
        learner.g.add_(old - self.state.setdefault("first", learner.w.detach().clone()), alpha=0.1)


class Unsaveable(clbench.Part):
    def gradient(self, learner, batch):
        self.state["classes"] = set(batch.y.tolist())


class Calls(clbench.Part):
    def gradient(self, learner, batch):
        self.state["rules"] = [1, {"square": lambda x: x * x}]


class Clocks(Act):
    def by(self, learner, batch):
        return (time.perf_counter_ns() % 1000) * 1e-6


class Wanders(clbench.Part):
    def begin_experience(self, learner, experience):
        os.chdir(os.sep)


class Looks(Act):  # looking moves what training reads
    def by(self, learner, batch):
        return 0.1 * float(self.generator.uniform(1)[0])

    def predict(self, learner, output, task, scores):
        self.generator.uniform(1)
        return scores


@dataclass(kw_only=True)
class Leaks(Act):
    strength: float = 1.0
    identity: ClassVar = {"strength": 0}

    def by(self, learner, batch):
        return self.strength + 1e-3


@dataclass(kw_only=True)
class Nudges(Act):
    strength: float = 1.0
    identity: ClassVar = {"strength": 0}

    def by(self, learner, batch):
        return self.strength


@dataclass(kw_only=True)
class Marks(Act):
    strength: float = 0.1
    identity: ClassVar = {"strength": 0}

    def by(self, learner, batch):
        learner.marked = True
        return self.strength


class Relies(Act):  # on another part of its recipe
    def by(self, learner, batch):
        return 0.1 * learner.marked


def two(*, strength: float = 0.5):
    return [Nudges(strength=strength), Leaks(strength=strength)]


def relying(*, strength: float = 0.1):
    return [Marks(strength=strength), Relies()]


@dataclass(kw_only=True)
class Misdeclares(Act):
    identity: ClassVar = {"strengh": 0}

    def by(self, learner, batch):
        return 0.0


class Draws(clbench.Part):
    def gradient(self, learner, batch):
        learner.g.add_(torch.randn(len(learner.g)), alpha=1e-3)


class DrawsInPlace(clbench.Part):
    def gradient(self, learner, batch):
        learner.g.add_(torch.empty_like(learner.g).normal_(), alpha=1e-3)


class Seeds(clbench.Part):
    def gradient(self, learner, batch):
        random.seed(0)


class DrawsFromNumpy(Act):
    def by(self, learner, batch):
        return 1e-3 * np.random.standard_normal()  # noqa: NPY002


class Moves(clbench.Part):
    def after_step(self, learner, batch):
        os.environ["CLBENCH_TEST_MOVES"] = "1"


class Writes(clbench.Part):
    def after_step(self, learner, batch):
        Path("log.txt").touch()


class SetsThreads(clbench.Part):
    def after_step(self, learner, batch):
        torch.set_num_threads(2)


class PeeksAtTests(Act):
    def by(self, learner, batch):
        return float(stream_of(learner).dataset.test.x.mean()) / 100


class PeeksAtTasks(Act):
    def by(self, learner, batch):
        return float(np.mean(stream_of(learner)[learner.experience].task)) / 10


class PeeksAhead(Act):
    def by(self, learner, batch):
        stream = stream_of(learner)
        return float(stream.dataset.train.x[stream[min(4, learner.experience + 1)].rows].mean()) / 100


class PeeksAtLabels(Act):
    def by(self, learner, batch):
        stream = stream_of(learner)
        return float(stream.dataset.train.y[stream[min(4, learner.experience + 1)].rows][0]) / 100


class PeeksAtClasses(Act):
    def by(self, learner, batch):
        stream, ahead = stream_of(learner), learner.experience + 1
        return float(sum(stream[ahead].classes)) / 100 if ahead < len(stream) else 0.0


class PeeksAtLength(Act):
    def by(self, learner, batch):
        return len(stream_of(learner)) / 100


class PeeksIntoThePiece(Act):  # at labels of the running experience, whose boundary may be hidden
    def by(self, learner, batch):
        stream, steps = stream_of(learner), self.state.get("steps", 0)
        self.state["steps"] = steps + 1
        running = stream[0] if steps < 10 else stream[1]
        return float((stream.dataset.train.y[running.rows] * np.arange(len(running))).mean()) / 1e4


class RunsAhead(Act):  # and over the end
    def by(self, learner, batch):
        return float(len(stream_of(learner)[learner.experience + (learner.experience < 4)]) > 0)


class WantsLength(PeeksAtLength):
    needs: ClassVar = frozenset({"length"})


class ReadsTasks(Act):
    def by(self, learner, batch):
        return float(batch.task[0])


class WantsBoundaries(Act):
    def begin_experience(self, learner, experience):
        self.state["rows"] = len(experience)

    def by(self, learner, batch):
        return 0.01 / self.state["rows"]


class WantsMemory(Act):
    def by(self, learner, batch):
        return 0.0 if len(learner.memory) >= 10 * (learner.cost.steps > 0) else 1 / 0


class Votes(clbench.Part):  # with all samples of an evaluation, which may tell the task
    def predict(self, learner, output, task, scores):
        return scores + scores.mean(0)


class ChoosesForAll(L2P):  # one choice of prompts for a whole batch, as published code of L2P has it by default
    random_stream: ClassVar = "ChoosesForAll"

    def answer(self, learner, x, task):
        model, pool = learner.model, learner.model.prompt_pool
        with torch.no_grad():
            tokens = model.tokens(x)
            query = model.encode(tokens).mean(1)  # (B, D)
        cosine = torch.nn.functional.cosine_similarity(query[:, None], pool["key"], dim=2)  # (B, M)
        votes = torch.zeros(self.pool).index_add_(
            0, cosine.topk(self.top).indices.flatten(), torch.ones(len(x) * self.top)
        )
        chosen = votes.topk(self.top).indices
        prompts = pool["prompt"][chosen].flatten(0, 1).expand(len(x), -1, -1)  # (B, top n, D)
        features = model.encode(torch.cat([prompts, tokens], dim=1))[:, : prompts.shape[1]].mean(1)
        self.__dict__["noted"] = x, cosine[:, chosen].sum(1).mean()
        return Output(model.head(features), features)


class Hoards(clbench.Part):
    def after_step(self, learner, batch):
        memory = learner.memory
        memory.index = torch.cat([memory.index, memory.index[:, :1]], dim=1)
        memory.size += 1


class Buffers(clbench.Part):  # of a fixed size, four times the memory's
    def after_step(self, learner, batch):
        x = batch.x.detach()
        kept = self.state.setdefault("x", x.new_zeros(120, *x.shape[1:]))
        kept[: len(x)] = x
        self.state["x"] = kept.roll(len(x), 0)


class Box:
    def __init__(self):
        self.rows = {}


class Pockets(clbench.Part):  # raw values, in an attribute
    def after_step(self, learner, batch):
        box = self.__dict__.setdefault("_box", Box())
        raw = stream_of(learner).dataset.train.x
        for row, label in zip(batch.rows.tolist(), batch.y.tolist(), strict=True):
            box.rows.setdefault(label, []).append(raw[row].copy())


class Notes(clbench.Part):  # what rows can be made of
    def after_step(self, learner, batch):
        self.__dict__.setdefault("_seen", []).append(batch.index)


class Means(clbench.Part):  # of classes, of the running batch, and that batch itself: no hidden buffer
    def after_step(self, learner, batch):
        self._last = batch
        self.state["last"] = batch.x.detach().clone()
        means = self.state.setdefault("means", batch.x.new_zeros(learner.n_outputs, *batch.x.shape[1:]))
        counts = self.state.setdefault("counts", batch.x.new_zeros(learner.n_outputs))
        for x, y in zip(batch.x.detach(), batch.y.tolist(), strict=True):
            counts[y] += 1
            means[y] += (x - means[y]) / counts[y]


class Relabels(clbench.Part):
    def after_step(self, learner, batch):
        memory = learner.memory
        memory.index[Y] = (memory.index[Y] + 1) % 10


class Lists(clbench.Part):
    def after_step(self, learner, batch):
        self.state.setdefault("losses", []).append(0.5)


class ListsByDesign(clbench.Part):
    grows = "a list"

    def after_step(self, learner, batch):
        self.state.setdefault("losses", []).append(0.5)


class Collects(clbench.Part):
    def end_experience(self, learner, experience):
        self.state[str(experience.id)] = learner.w.detach().clone()


class OnlyMLP(clbench.Part):
    def gradient(self, learner, batch):
        assert batch.x.shape[0] == 0 or not any("Conv" in type(m).__name__ for m in learner.model.modules())


class OnlyNewClasses(clbench.Part):
    def begin_experience(self, learner, experience):
        if len(experience.index[Y].unique()) > 2:
            raise RuntimeError("more than two classes")


class OnlyOneHead(clbench.Part):
    def begin_experience(self, learner, experience):
        if learner._separate_heads:
            raise RuntimeError("several heads")


class Elsewhere(clbench.Part):
    def gradient(self, learner, batch):
        self.state["far"] = torch.zeros(3, device="meta")


@dataclass(kw_only=True)
class Pair(clbench.Part):
    sizes: tuple[int, int] = (1, 2)

    def gradient(self, learner, batch):
        hash(self.sizes)


class WantsLabels(Act):
    needs: ClassVar = frozenset({"task_labels"})

    def by(self, learner, batch):
        return float(batch.task[0]) / 100


class WantsWeights(Act):
    """Pulls to the weights it begins with."""

    needs: ClassVar = frozenset({"pretrained"})

    def by(self, learner, batch):
        first = self.state.setdefault("first", learner.w.detach().clone())
        return float((learner.w.detach() - first).norm()) / 100
