"""The page for readers of PyCIL and PILOT: its files plan, and its orders are those of the programs."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image
from ruamel.yaml import YAML
from worked_pages import ROOT

from clbench.benchmark import documents, schema
from clbench.benchmark.documents import Source
from clbench.benchmark.schema import Training
from clbench.running.plan import plan

PAGE = (ROOT / "docs" / "from-pycil-and-pilot.md").read_text(encoding="utf-8")
BLOCKS = [part.partition("```")[0] for part in PAGE.split("```yaml\n")[1:]]


def test_orders_in_the_text_are_those_of_numpy():
    for count, words in ((100, 10), (200, 9)):
        first = np.random.RandomState(1993).permutation(count)[:words]
        assert " ".join(map(str, first)) in PAGE


def test_the_protocol_is_a_section_that_plans():
    section = YAML(typ="safe").load(BLOCKS[0])
    assert plan({"name": "b", **section, "model": {"name": "cnn"}}, seeds=1).cells[0].config["stream"][
        "experiences"
    ] == [
        50,
        *[10] * 5,
    ]


def test_the_schedule_of_pycil_is_a_section_that_plans():
    section = YAML(typ="safe").load(BLOCKS[1])
    stream = {"scenario": "split", "dataset": "digits"}
    (cell,) = plan({"name": "b", "stream": stream, "model": {"name": "mlp"}, **section}, seeds=1).cells
    training = Training(**cell.config["training"])
    assert [training.during(e).epochs for e in range(3)] == [200, 170, 170]
    assert [training.during(e).weight_decay for e in range(3)] == [5e-4, 2e-4, 2e-4]
    for e, places in enumerate(([60, 120, 170], [60, 100, 140])):
        assert training.during(e).lr_schedule == {"milestones": {"at": places, "factor": 0.1}}


@pytest.fixture
def miniature(tmp_path):
    """Two hundred classes of one picture in each split."""
    for c in range(200):
        for split in ("train", "test"):
            folder = tmp_path / "cub" / split / f"{c:03}.bird"
            folder.mkdir(parents=True)
            Image.new("L", (2, 2), c).save(folder / "0.png")
    return tmp_path


def test_the_whole_file_plans_on_a_miniature_of_its_data(miniature):
    document = documents.plain(YAML(typ="safe").load(BLOCKS[-1]))
    checked = schema.check(document, Source("page", document))
    assert checked.published[0].value == 0.8673
    made = plan(document, data_dir=miniature)
    assert made.cells[0].config["stream"]["experiences"] == [100, *[10] * 10]
    assert {cell.label for cell in made.cells} == {"ncm", "slda", "acil"}
