"""Keys and counted bytes when modules of clbench move: code counts under the name that its module had before."""

import pickle
import pickletools
import sys
from dataclasses import dataclass
from pathlib import Path

import torch

import clbench
from clbench.adapters.guest import size
from clbench.adapters.observe import Logits
from clbench.adapters.sklearn.estimators import Taught
from clbench.batch import Batch
from clbench.identity import checksum, origin

ROOT = Path(clbench.__file__).parent
HOMES = {
    "clbench.adapters": "guest observe recipes world",
    "clbench.adapters.avalanche": (
        "benchmark build host kept library listener modules plugin recipes streams taken thin"
    ),
    "clbench.adapters.sklearn": "classifier estimators growing",
    "clbench": (
        "admission alarms api arrivals batch cell claims comparable compat competition config cost cuts doctor "
        "environment features fisher flops forecast generators learner look_schedule matrix memory notices objective "
        "optimizers parameters passes peak per_row plan prepare probe progress rates record registry resident rng "
        "sections sensitivity shipped side_work snapshots store stream_plots track train types"
    ),
    "clbench.cli": (
        "app benchmark boards check checkup common console kinds listing new plugins run sensitivity show stopping"
    ),
    "clbench.data": (
        "arrays augment augment_color augment_warp auto_augment cache contents corruptions digits folder given hub "
        "idx images joined labels npz parquet registry roots splits table torchvision_source transforms values"
    ),
    "clbench.evaluate": "alarms evaluator panels predictions subject",
    "clbench.executors": "guard limits pool worker",
    "clbench.identity": "arrays code files kinds origin reading values walk",
    "clbench.leaderboard": "board columns export frame hub notes numbers page",
    "clbench.metrics": (
        "accumulation cells core curves ends gap interval learning looks predicted readout retention rows switches "
        "transfer windows"
    ),
    "clbench.models": (
        "blank blocks builders cnn extractor flat given groups linear manners mlp norm output resnet "
        "torchvision_model vit wrap"
    ),
    "clbench.plots": "confusion cost gap lag matrix runs spark style switches tasks",
    "clbench.saved": "pack predictor read",
    "clbench.scaffold": "",
    "clbench.scenarios": (
        "blurry bounds cir combinators common corrupted cut drift gaussian interleave label_noise lags online "
        "permuted power_law raster realised rotated schedules scole sequence split"
    ),
    "clbench.strategies": (
        "agem bounds chain der er_ace er_aml ewc expected feat_kd fpf freeze_norm gdumb gem group_mask hft hpcr icarl "
        "l2 lwf mas mir ncm norm_statistics part pcr pred_kd protocol quadratic refresh replay sensitivity si slda "
        "text view_batch watch"
    ),
    "clbench.testing": "barriers budgets check compare hoards models pretrained processes runs surroundings trial",
}
"""Package -> the modules under whose names code of clbench has counted since the first records. A module that goes for
good is taken out; one that moves stays here, and gets a line in ``MOVED``."""


def counted():
    return {f"{package}.{name}" for package, names in HOMES.items() for name in names.split()} | set(HOMES)


def modules():
    files = (file.relative_to(ROOT.parent).with_suffix("") for file in ROOT.rglob("*.py"))
    return {".".join(file.parts).removesuffix(".__init__") for file in files}


def test_the_code_of_every_module_that_has_moved_counts_under_its_former_name():
    gone = counted() - modules() - set(origin.MOVED.values())
    assert not gone, f"say in clbench/identity/origin.py (MOVED) where the code of {sorted(gone)} is now"
    assert set(origin.MOVED) <= modules(), "MOVED names a module that is not there"
    assert set(origin.MOVED.values()) <= counted(), "code counts under the name of its first home, not of a later one"


def part():
    @dataclass(kw_only=True)
    class Picky(clbench.Part):
        def gradient(self, learner, batch):
            assert isinstance(batch, Batch)

    return checksum(Picky)


def test_the_checksum_of_a_part_of_a_program_stays_when_a_module_that_it_uses_moves(monkeypatch):
    before = part()
    monkeypatch.setitem(sys.modules, "clbench.elsewhere.batch", sys.modules[Batch.__module__])
    monkeypatch.setattr(Batch, "__module__", "clbench.elsewhere.batch")
    assert part() != before
    monkeypatch.setattr(origin, "MOVED", {**origin.MOVED, "clbench.elsewhere.batch": "clbench.batch"})
    assert part() == before


def test_the_bytes_that_a_guest_keeps_stay_when_the_module_of_its_class_moves(monkeypatch):
    now = pickle.dumps(["clbench.adapters.sklearn.estimators", "Taught"])
    then = pickle.dumps(["clbench.elsewhere.sklearn_estimators", "Taught"])
    assert size(now) == len("clbench.adapters.sklearn.estimators") + len("Taught")
    assert size(then) == size(now) + 1
    monkeypatch.setattr(
        origin, "MOVED", {"clbench.elsewhere.sklearn_estimators": "clbench.adapters.sklearn.estimators"}
    )
    assert size(then) == size(now)


def texts(thing):
    found = (text for _, text, _ in pickletools.genops(pickle.dumps(thing)) if isinstance(text, str))
    return {origin.home_of(text) for text in found}


def test_the_names_that_count_among_the_bytes_of_guests_never_change():
    estimator = {"clbench.adapters.sklearn.estimators", "Taught", "estimator", "classes", "begun", "votes"}
    assert texts(Taught(None, 10)) == estimator
    assert {"clbench.adapters.observe", "Logits", "model"} <= texts(Logits(torch.nn.Identity()))
