"""Makers of models and parts of every kind that a program can hand over, each from a width: run as a script, it prints
their checksums."""

import argparse
import collections
import dataclasses
import decimal
import enum
import functools
import itertools
import operator
import re
import sys
import types
from pathlib import Path

import numpy as np
import pydantic
import torch
from torch import nn

WIDTH = 1
TABLE = {}
SETTINGS = types.ModuleType("settings_of_the_program")


def make(shape, n, width):
    return nn.Sequential(nn.Flatten(), nn.Linear(int(np.prod(shape)), width), nn.ReLU(), nn.Linear(width, n))


class Builder:
    def __init__(self, width):
        self.width = width

    def __call__(self, shape, n):
        return make(shape, n, self.width)

    def build(self, shape, n):
        return make(shape, n, self.width)


class Slotted:
    __slots__ = ("__hidden", "width")

    def __init__(self, width):
        self.width, self.__hidden = 3, width

    def __call__(self, shape, n):
        return make(shape, n, self.__hidden)


@dataclasses.dataclass
class Data:
    width: int = 3

    def __call__(self, shape, n):
        return make(shape, n, self.width)


class Size(enum.Enum):
    SMALL = 1
    LARGE = 200


class Scaled(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.register_buffer("scale", torch.full((2,), float(width)), persistent=False)
        self.head = nn.Linear(2, 2)
        nn.init.zeros_(self.head.weight)
        nn.init.zeros_(self.head.bias)

    def forward(self, x):
        return self.head(x * self.scale)


def closure(value, use=lambda value: value):
    return lambda shape, n: make(shape, n, use(value))


def keyword(width):
    def built(shape, n, *, width=width):
        return make(shape, n, width)

    return built


def wrapped(width):
    inner = keyword(width)

    @functools.wraps(inner)
    def outer(*args, **more):
        return inner(*args, **more)

    return outer


def hidden_behind(width):
    def outer(shape, n):
        return outer.__wrapped__(shape, n)

    outer.__wrapped__ = keyword(width)
    return outer


def nested(width):
    def outer(shape, n):
        def inner():
            return make(shape, n, width)

        return inner()

    return outer


def with_class(width):
    class Made(nn.Module):
        size = width

        def __new__(cls, shape, n):
            return make(shape, n, cls.size)

    return Made


def with_meta(width):
    class Meta(type):
        def __call__(cls, shape, n):
            return make(shape, n, width)

    return Meta("Made", (), {})


def with_global(width):
    code = "def build(shape, n): return make(shape, n, WIDTH)"
    names = {"make": make, "WIDTH": width, "__name__": "typed"}
    exec(code, names)
    return names["build"]


def with_module(width):
    module = types.ModuleType("settings_of_the_program")
    module.WIDTH = width
    names = {"make": make, "settings": module, "__name__": "typed"}
    exec("def build(shape, n): return make(shape, n, settings.WIDTH)", names)
    return names["build"]


def with_whole_module(width):
    module = types.ModuleType("settings_of_the_program")
    module.WIDTH = width
    names = {"make": make, "settings": module, "__name__": "typed"}
    exec("def build(shape, n): return make(shape, n, getattr(settings, 'WIDTH'))", names)
    return names["build"]


def hooked(width):
    module = nn.Linear(2, 2)
    with torch.no_grad():
        module.weight.zero_(), module.bias.zero_()
    module.register_forward_hook(functools.partial(lambda width, module, given, out: out * width, width))
    return module


def activated(act):
    module = nn.Sequential(nn.Linear(2, 2))
    nn.init.zeros_(module[0].weight)
    nn.init.zeros_(module[0].bias)
    module.act = act
    return module


def set_in_closure(width):
    return closure({f"name {i}" for i in range(50)} | {str(width)}, len)


def read_object_array(width):
    return closure(np.array([width, "a", None], dtype=object), operator.itemgetter(0))


class Checked(pydantic.BaseModel):
    width: int = 3


def zeros(module):
    for weight in module.parameters():
        nn.init.zeros_(weight)
    return module


KINDS = {
    "partial": lambda w: functools.partial(make, width=w),
    "partial of a partial": lambda w: functools.partial(functools.partial(make), width=w),
    "partialmethod": lambda w: type("Has", (), {"go": functools.partialmethod(make, width=w)})().go,
    "callable object": Builder,
    "bound method": lambda w: Builder(w).build,
    "slots": Slotted,
    "dataclass": Data,
    "lambda default": lambda w: lambda shape, n, w=w: make(shape, n, w),
    "keyword default": keyword,
    "wraps": wrapped,
    "__wrapped__ alone": hidden_behind,
    "lru_cache": lambda w: functools.lru_cache(keyword(w)),
    "namespace in a closure": lambda w: closure(argparse.Namespace(width=w), operator.attrgetter("width")),
    "simple namespace": lambda w: closure(types.SimpleNamespace(width=w), operator.attrgetter("width")),
    "mapping proxy": lambda w: closure(types.MappingProxyType({"width": w}), operator.itemgetter("width")),
    "tensor in a closure": lambda w: closure(torch.tensor([w]), int),
    "bfloat16": lambda w: closure(torch.tensor([w], dtype=torch.bfloat16), int),
    "array in a closure": lambda w: closure(np.array([w]), int),
    "object array": read_object_array,
    "structured array": lambda w: closure(np.array([(w,)], dtype=[("width", "i4")]), lambda a: int(a[0][0])),
    "path": lambda w: closure(Path(f"{w}"), lambda p: int(str(p))),
    "enum": lambda w: closure(Size(w), operator.attrgetter("value")),
    "dtype": lambda w: closure({1: torch.float32, 200: torch.float64}[w]),
    "device": lambda w: closure(torch.device("cpu", w - 1)),
    "set": set_in_closure,
    "frozenset in code": lambda w: (lambda s, n: s in {"a", "b", "c"}) if w == 1 else (lambda s, n: s in {"a", "d"}),
    "another lambda on the line": lambda w: [lambda s, n: make(s, n, 1), lambda s, n: make(s, n, 200)][w == 200],
    "nested function": nested,
    "class attribute": with_class,
    "metaclass": with_meta,
    "global number": with_global,
    "attribute of a module": with_module,
    "module": with_whole_module,
    "builtin method": lambda w: {"width": w}.get,
    "generator of numbers": lambda w: closure(np.random.default_rng(w)),
    "torch generator": lambda w: closure(torch.Generator().manual_seed(w)),
    "buffer that is not saved": Scaled,
    "hook": hooked,
    "activation function": lambda w: activated({1: torch.relu, 200: torch.tanh}[w]),
    "activation lambda": lambda w: activated({1: lambda x: x * 2, 200: lambda x: x * 3}[w]),
    "activation partial": lambda w: activated(functools.partial(nn.functional.leaky_relu, negative_slope=w)),
    "frozen weights": lambda w: activated(None).requires_grad_(w == 1),
    "pattern": lambda w: closure(re.compile(f"{w}+")),
    "deque": lambda w: closure(collections.deque([w])),
    "counter": lambda w: closure(itertools.count(w)),
    "decimal": lambda w: closure(decimal.Decimal(w)),
    "sparse": lambda w: closure((torch.eye(2) * w).to_sparse()),
    "class made by a library": lambda w: dataclasses.make_dataclass("Made", [("width", int, w)]),
    "pydantic": lambda w: closure(Checked(width=w)),
    "lazy": lambda w: nn.LazyLinear(w),
    "weight norm": lambda w: nn.utils.parametrizations.weight_norm(activated(None)[0], dim=0 if w == 1 else 1),
    "recurrent": lambda w: zeros(nn.LSTM(2, w)),
    "vectorize": lambda w: closure(np.vectorize(lambda x: x * w)),
    "no_grad": lambda w: torch.no_grad()(keyword(w)),
}

if __name__ == "__main__":
    from clbench.core.identity import checksum

    for name in KINDS if len(sys.argv) < 2 else sys.argv[1:]:
        print(name, checksum(KINDS[name](1)), checksum(KINDS[name](200)), sep="\t")
