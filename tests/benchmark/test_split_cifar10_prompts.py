"""The benchmark of methods for pretrained transformers: its cells, its weights, and a run on few rows."""

import pytest

from clbench import api
from clbench.benchmark.shipped_files import find
from clbench.core.errors import Refused
from clbench.models import make
from clbench.running.plan import plan

NAME = "split-cifar10-prompts-short"
SMALL = ("stream.dataset={name: digits, train_rows: 100, test_rows: 20}", "model.resize=14", "training.batch_size=10")


def test_every_method_runs_on_few_rows_of_a_small_transformer(miniatures):
    records = list(api.run(NAME, overrides=SMALL, data_dir=miniatures))
    names = {record.label.partition(" ")[0] for record in records}
    assert names == {"naive", "frozen", "l2p", "dualprompt", "coda_prompt", "inflora", "sd_lora", "slca"}
    assert [(record.status, record.reason) for record in records] == [("done", "")] * len(records)
    assert {record.cost["steps"] for record in records if not record.label.startswith("frozen")} == {10}


def test_the_weights_are_those_of_the_data_folder(shared_data):
    if not (shared_data / "vit_s14").is_dir():
        pytest.skip(f"{shared_data / 'vit_s14'} is missing")
    for cell in plan(NAME, data_dir=shared_data).cells:
        assert cell.config["stream"]["dataset"]["train_rows"] == 1000
        model = {**cell.config["model"], "source": f"file:{shared_data / 'vit_s14' / 'vit_s14_fp16.pth'}"}
        assert model["weights_checksum"] == "0f564fbaf745a09e62f3667e895bb21a"
    network = make({key: model[key] for key in ("name", "source", "resize")}, (3, 32, 32), 10)
    assert (network.form.width, network.form.depth, network.form.grid) == (384, 12, (4, 4))


def test_without_the_weights_one_sentence_says_where_they_belong(tmp_path):
    with pytest.raises(Refused, match=r"source file:vit_s14/vit_s14_fp16\.pth is not there; give the path") as told:
        plan(NAME, data_dir=tmp_path)
    assert "\n" not in str(told.value)
    assert "DATA_DIR/vit_s14/vit_s14_fp16.pth" in find(NAME).read_text()
