"""Before a cell is called finished, the checksum of its data is compared with that of its record."""

import numpy as np
from PIL import Image

import clbench
from clbench import api
from clbench.core.store import record_path
from clbench.running.matrix import OTHER_DATA


def images(folder, level):
    """CIFAR-10 as a hub lays it out, here 20 images of 10 classes of one grey level each."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    folder.mkdir(parents=True, exist_ok=True)
    rows = []
    for label in range(10):
        path = folder / "one.png"
        Image.fromarray(np.full((8, 8, 3), level + label, dtype=np.uint8)).save(path)
        rows.append(path.read_bytes())
    table = pa.table({"img": rows * 2, "label": list(range(10)) * 2})
    for split in ("train", "test"):
        pq.write_table(table, folder / f"{split}-0.parquet")


SMALL = {
    "name": "small",
    "stream": {"scenario": "split", "experiences": 2, "dataset": "cifar10"},
    "model": {"name": "mlp", "hidden": [4]},
    "evaluation": {"every": 0},
    "strategies": ["naive"],
    "seeds": 1,
}


def test_another_folder_under_the_same_name_is_run_again_and_the_old_record_is_kept(tmp_path):
    images(tmp_path / "one" / "cifar10", 40)
    images(tmp_path / "two" / "cifar10", 100)
    out = tmp_path / "out"
    [first] = clbench.run(SMALL, data_dir=tmp_path / "one", out=out)
    [again] = clbench.run(SMALL, data_dir=tmp_path / "one", out=out)
    assert again.created == first.created
    assert not (out / OTHER_DATA).exists()
    [other] = clbench.run(SMALL, data_dir=tmp_path / "two", out=out)
    assert first.key == other.key
    assert first.data != other.data
    assert first.fingerprint != other.fingerprint
    [kept] = api.records(out / OTHER_DATA)
    assert kept.data == first.data
    assert record_path(first.key, out).exists()


def test_where_the_data_is_gone_the_record_stands(tmp_path, monkeypatch):
    images(tmp_path / "one" / "cifar10", 40)
    [first] = clbench.run(SMALL, data_dir=tmp_path / "one", out=tmp_path / "out")
    monkeypatch.setenv("CLBENCH_OFFLINE", "1")
    [again] = clbench.run(SMALL, data_dir=tmp_path / "nowhere", out=tmp_path / "out")
    assert again.key == first.key
    assert again.data == first.data
