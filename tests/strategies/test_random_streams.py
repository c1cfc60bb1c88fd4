"""Random streams of parts: shipped parts declare a name, and others draw from a stream of their class name."""

import importlib
import pkgutil
from dataclasses import dataclass
from typing import ClassVar

import pytest

import clbench
from clbench import Part
from clbench.core.errors import Refused
from clbench.core.rng import Generator
from clbench.strategies.chain import Chain, stream_name

RANDOM_STREAMS = {
    "Accumulated": "Accumulated", "Accumulating": "Accumulating", "AGEM": "AGEM", "Asymmetric": "Asymmetric",
    "AsymmetricMetric": "AsymmetricMetric",
    "Binary": "Binary", "BinaryReadOut": "BinaryReadOut",
    "DarkExperience": "DarkExperience", "Discriminants": "Discriminants",
    "Estimator": "Estimator", "EWC": "EWC", "Exemplars": "Exemplars", "FeatKD": "FeatKD", "FPF": "FPF",
    "FreezeNorm": "FreezeNorm", "Frozen": "Frozen", "GDumb": "GDumb", "GEM": "GEM", "GroupMask": "GroupMask",
    "TRGP": "TRGP", "CUBER": "CUBER", "ScaledProjection": "ScaledProjection",
    "GPM": "GPM", "Hypernet": "Hypernet",
    "OnlineLearner": "Guest", "HFT": "HFT", "AvalanchePart": "Hosted", "InterferedRetrieval": "InterferedRetrieval",
    "Joint": "Joint", "KeepLogits": "KeepLogits", "L2": "L2", "LossForm": "LossForm", "LwF": "LwF",
    "AnalyticHead": "AnalyticHead", "CosineMeans": "CosineMeans",
    "RandomProjection": "RandomProjection", "Covariances": "Covariances", "RunningClasses": "RunningClasses",
    "L2P": "L2P", "Prompts": "Prompts", "DualPrompt": "DualPrompt", "CODAPrompt": "CODAPrompt",
    "Only": "Only", "Bank": "Bank", "CLR": "CLR", "DST": "DST",
    "Consolidation": "Consolidation",
    "L2M": "L2M", "Repeats": "Repeats", "Merge": "Merge",
    "AlignNorms": "AlignNorms", "WeightedKD": "WeightedKD", "BiasCorrection": "BiasCorrection",
    "SDLoRA": "SDLoRA",
    "Expand": "Expand", "PositiveHead": "PositiveHead",
    "InfLoRA": "InfLoRA",
    "FirstTask": "FirstTask",
    "UnifiedClassifier": "UnifiedClassifier",
    "PooledKD": "PooledKD", "ProxyClassifier": "ProxyClassifier",
    "Adapters": "Adapters",
    "Align": "Align", "SlowBody": "SlowBody",
    "MAS": "MAS", "Means": "Means", "Merged": "Merged", "Observer": "Observer", "Plugin": "Plugin", "PredKD": "PredKD",
    "ProxyContrast": "ProxyContrast", "ProxyDistillation": "ProxyDistillation", "Refresh": "Refresh",
    "Replay": "Replay", "Sensitivity": "Sensitivity", "SI": "SI", "Template": "Template", "ViewBatch": "ViewBatch",
}  # fmt: skip
"""Class of a shipped part -> the random stream from which published numbers were drawn. Where a class is renamed, only
the left side changes."""


def shipped():
    """All part classes of clbench, wherever in it they are defined."""
    for module in pkgutil.walk_packages(clbench.__path__, "clbench."):
        if not module.name.endswith("__main__"):
            importlib.import_module(module.name)
    found, waiting = set(), [Part]
    while waiting:
        waiting += [kind for kind in waiting.pop().__subclasses__() if kind not in found and not found.add(kind)]
    return {kind for kind in found if kind.__module__.partition(".")[0] == "clbench"}


def draws(*parts, seed=3):
    return [part.generator.words(4).tolist() for part in Chain(parts, seed=seed).parts]


def test_the_random_stream_of_every_shipped_part_is_declared_in_its_class_and_never_changes():
    kinds = shipped()
    assert [kind.__name__ for kind in kinds if "random_stream" not in vars(kind)] == []
    assert {kind.__name__: stream_name(kind) for kind in kinds} == RANDOM_STREAMS
    assert len({stream_name(kind) for kind in kinds}) == len(kinds), "two shipped parts draw from one random stream"


def test_a_shipped_part_draws_from_the_stream_of_its_name():
    ewc = importlib.import_module("clbench.strategies.ewc").EWC(strength=1.0)
    replay = importlib.import_module("clbench.strategies.replay").Replay()
    expected = [Generator(3, purpose).words(4).tolist() for purpose in ("part/EWC/0", "part/Replay/0")]
    assert draws(ewc, replay) == expected


def test_parts_that_another_one_conflicts_with_are_shipped_ones():
    named = {name for kind in shipped() for name in kind.conflicts}
    assert named
    assert named <= set(RANDOM_STREAMS)


def test_a_renamed_class_that_declares_its_random_stream_draws_the_same_numbers():
    @dataclass(kw_only=True)
    class Before(Part):
        pass

    @dataclass(kw_only=True)
    class After(Part):
        random_stream: ClassVar[str] = "Before"

    assert draws(After()) == draws(Before())
    assert draws(After(), After()) == draws(Before(), Before())


def test_a_renamed_class_that_declares_no_random_stream_draws_other_numbers():
    before, after = (dataclass(kw_only=True)(type(name, (Part,), {})) for name in ("Before", "After"))
    [first], [second] = draws(before()), draws(after())
    assert first == Generator(3, "part/Before/0").words(4).tolist()
    assert second == Generator(3, "part/After/0").words(4).tolist()
    assert first != second


def test_a_subclass_does_not_inherit_the_random_stream_of_its_parent():
    @dataclass(kw_only=True)
    class Parent(Part):
        random_stream: ClassVar[str] = "Declared"

    @dataclass(kw_only=True)
    class Child(Parent):
        pass

    assert draws(Parent(), Child()) == [
        Generator(3, purpose).words(4).tolist() for purpose in ("part/Declared/0", "part/Child/0")
    ]


@pytest.mark.parametrize("name", ["", 7, None])
def test_a_random_stream_without_a_name_is_refused(name):
    with pytest.raises(Refused, match=r"Nameless.random_stream = .* is not a name; use a string such as 'Nameless'"):
        type("Nameless", (Part,), {"random_stream": name})
