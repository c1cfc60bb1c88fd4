"""One-method learners for tests, as people write them; taken by path, ``observe:observers.py:NAME``."""
# ruff: noqa: NPY002  the global generators are what such code draws from

import random

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

told = []
"""What happened to the learners of this process, in order."""


def plain_loss(model, x, y, class_mask):
    logits = model(x)
    return F.cross_entropy(logits if class_mask is None else logits.masked_fill(~class_mask, -torch.inf), y)


class Plain:
    """Does what naive does."""

    def __init__(self, model, optimizer):
        self.model, self.optimizer = model, optimizer

    def observe(self, x, y, class_mask):
        self.optimizer.zero_grad()
        loss = plain_loss(self.model, x, y, class_mask)
        loss.backward()
        self.optimizer.step()
        return loss.item()


class Telling(Plain):
    """Tells what it is given."""

    def begin_task(self, task, x, y):
        told.append(("begin", task, tuple(x.shape), sorted(set(y.tolist()))))

    def observe(self, inputs, labels, raw_x, task, class_mask):
        told.append(("observe", inputs, labels, raw_x, task))
        return super().observe(inputs, labels, class_mask)

    def end_task(self):
        told.append(("end",))


class Rehearsing:
    """A buffer of its own, filled and drawn from with all three global generators; a copy of old weights; momentum by
    hand; a torch generator; a view of the weights."""

    needs = ("memory",)

    def __init__(self, model, optimizer, memory_size, device, *, share: float = 0.5):
        self.model, self.optimizer, self.size, self.share = model, optimizer, memory_size, share
        self.buffer, self.seen, self.speed = [], 0, None
        self.own = np.random.default_rng(5)
        self.noise = torch.Generator().manual_seed(3)
        self.old = [p.detach().clone() for p in model.parameters()]
        self.live = [p.detach() for p in model.parameters()]
        self.helper = nn.Linear(3, 2)
        self.helper_optimizer = torch.optim.Adam(self.helper.parameters(), lr=0.1)

    def observe(self, x, y, class_mask):
        new = list(zip(x, y, strict=True))
        if self.buffer:
            drawn = random.sample(self.buffer, min(len(self.buffer), int(self.share * len(x)) or 1))
            pixels, labels = zip(*drawn, strict=True)
            x, y = torch.cat([x, torch.stack(pixels)]), torch.cat([y, torch.stack(labels)])
        self.optimizer.zero_grad()
        pull = sum((p - old).square().sum() for p, old in zip(self.model.parameters(), self.old, strict=True))
        jitter = torch.randn(x.shape, generator=self.noise) * 0.01 + torch.randn(x.shape) * 0.01
        if class_mask is not None and class_mask.dim() == 2:
            class_mask = None  # those of its own rows are not known
        loss = plain_loss(self.model, x + jitter, y, class_mask) + 0.001 * pull
        loss.backward()
        self.optimizer.step()
        assert all(torch.equal(a, p) for a, p in zip(self.live, self.model.parameters(), strict=True))
        self.helper_optimizer.zero_grad()
        self.helper(torch.randn(4, 3)).square().mean().backward()
        self.helper_optimizer.step()
        for row in new:
            self.seen += 1
            if len(self.buffer) < self.size:
                self.buffer.append(row)
            elif (place := np.random.randint(self.seen)) < self.size:
                self.buffer[place] = row
        if self.own.random() < 0.2:
            self.old = [p.detach().clone() for p in self.model.parameters()]
        return loss

    def predict(self, x):
        return self.model(x) + 1e-3 * float(self.helper.weight.sum()) * torch.randn(x.shape[0], 1)


class Labels(Plain):
    """Answers with labels."""

    def predict(self, x, class_mask):
        scores = self.model(x)
        return (scores if class_mask is None else scores.masked_fill(~class_mask, -torch.inf)).argmax(1).numpy()


class Restless(Plain):
    """Draws at looks from every global generator, and trains on what it draws."""

    def predict(self, x, task):
        told.append(("predict", task))
        return self.model(x) + 0 * (random.random() + np.random.rand() + torch.rand(1))

    def observe(self, x, y, class_mask):
        return super().observe(x + random.random() + np.random.rand() + torch.rand(1), y, class_mask)


class Nothing:
    """Has no observe."""


class Silent(Plain):
    """Returns no loss, and lets the weights run away."""

    def observe(self, x, y):
        for p in self.model.parameters():
            p.data.mul_(float("inf"))


class Lost(Plain):
    """Its loss is not finite."""

    def observe(self, x, y):
        return float("nan")


class Raises(Plain):
    """Has a mistake."""

    def observe(self, x, y):
        return F.cross_entropy(self.model(x), y[:-1])  # THE MISTAKE


class Asks(Plain):
    """Asks for what there is not."""

    def observe(self, x, y, not_aug_inputs):
        return None


class AsksLittle(Plain):
    """Takes too little."""

    def observe(self, batch):
        return None


class Pair(Plain):
    """Returns something else than a loss."""

    def observe(self, x, y):
        return torch.zeros(2)


class Shapeless(Plain):
    """Predicts the wrong shape."""

    def __init__(self, model, optimizer, kind: str):
        super().__init__(model, optimizer)
        self.kind = kind

    def predict(self, x):
        made = {"columns": torch.zeros(len(x), 3), "rows": torch.zeros(len(x) + 1, 10)}
        made |= {"numbers": torch.zeros(len(x)), "labels": torch.full((len(x),), 10), "text": "seven", "nothing": None}
        return made[self.kind]


class Locked(Plain):
    """Holds what cannot be saved."""

    def __init__(self, model, optimizer):
        super().__init__(model, optimizer)
        self.rows = (i for i in range(3))


class WrongNeeds(Plain):
    """Declares to need what there is not."""

    needs = ("boundary",)


def made(model, optimizer, *, factor: float = 1.0):
    """A function that makes a learner."""
    learner = Plain(model, optimizer)
    for group in optimizer.param_groups:
        group["lr"] *= factor
    return learner


class Strict(Plain):
    """Has settings with types."""

    def __init__(self, model, optimizer, alpha: "float", *, steps: "int" = 1):
        super().__init__(model, optimizer)
        self.alpha, self.steps = alpha, steps
