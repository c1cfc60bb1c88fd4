"""Arrays of strangers: their headers are checked before an array is made, and nothing is unpickled."""

from __future__ import annotations

import io
import pickle
import zipfile

import numpy as np
import pytest
from synthetic import dipping

from clbench.core import trace_file
from clbench.core.npz_arrays import Column, npz_arrays

ONE = {"a": Column("if", 2)}


def saved(**arrays):
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **arrays)
    return buffer.getvalue()


def archive(**contents):
    """An archive whose members have given bytes."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as file:
        for name, content in contents.items():
            file.writestr(zipfile.ZipInfo(f"{name}.npy"), content)
    return buffer.getvalue()


def npy(header, data=b""):
    text = header.encode() + b"\n"
    return b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text + data


@pytest.mark.parametrize(
    "array",
    [
        np.arange(6.0).reshape(2, 3),
        np.asfortranarray(np.arange(6, dtype=np.int32).reshape(2, 3)),
        np.zeros((0, 4)),
        np.arange(4, dtype=">i2").reshape(2, 2),
    ],
)
def test_an_array_comes_back_as_numpy_reads_it(array):
    content = saved(a=array, b=np.zeros(3))
    with np.load(io.BytesIO(content)) as held:
        wanted = held["a"]
    found = npz_arrays(content, ONE, 1000)
    assert list(found) == ["a"]
    assert (found["a"].dtype, found["a"].shape, found["a"].tobytes()) == (wanted.dtype, wanted.shape, wanted.tobytes())
    assert found["a"].flags.writeable


class _Planted:
    ran = False

    def __reduce__(self):
        return _plant, ()


def _plant():
    _Planted.ran = True


def test_a_pickled_array_is_refused_and_never_unpickled():
    header = "{'descr': '|O', 'fortran_order': False, 'shape': (1, 1)}"
    with pytest.raises(ValueError, match="has type object"):
        npz_arrays(archive(a=npy(header, pickle.dumps([_Planted()]))), ONE, 10_000)
    assert not _Planted.ran


@pytest.mark.parametrize(
    ("header", "reason"),
    [
        ("{'descr': '<f8', 'fortran_order': False, 'shape': (1000000, 1000000)}", "not as large as its header says"),
        ("{'descr': '<f8', 'fortran_order': False, 'shape': (0, 3)}", "not as large as its header says"),
        ("{'descr': '<f8', 'fortran_order': False, 'shape': (-1, -2)}", "not as large as its header says"),
        ("{'descr': '<f8', 'fortran_order': False, 'shape': (2,)}", "1 dimensions"),
        ("{'descr': '<M8[s]', 'fortran_order': False, 'shape': (2, 1)}", "has type datetime64"),
        ("{'descr': '<f16', 'fortran_order': False, 'shape': (1, 1)}", "has type float128"),
        ("{'descr': '|V0', 'fortran_order': False, 'shape': (1, 1)}", "has type|no header"),
        ("{'descr': ('<f8', (2,)), 'fortran_order': False, 'shape': (1, 1)}", "has type|dimensions|as large"),
        ("{'descr': '<f8', 'shape': (2, 1)}", "no header that can be read"),
        ("[" * 3000, "no header that can be read"),
        ("__import__('os').system('true')", "no header that can be read"),
    ],
)
def test_a_header_that_lies_is_a_sentence(header, reason):
    with pytest.raises(ValueError, match=reason):
        npz_arrays(archive(a=npy(header, bytes(16))), ONE, 10_000)


def test_tables_hold_floating_point_columns_only():
    table = {"a": Column("V", 2)}
    good = np.zeros((2, 2), dtype=[("mse", "<f8")])
    assert npz_arrays(saved(a=good), table, 1000)["a"].dtype.names == ("mse",)
    for dtype in ([("x", "<i8")], [("x", [("y", "<f8")])], [("x", "<f8", (2,))], "V8"):
        with pytest.raises(ValueError, match="has type"):
            npz_arrays(saved(a=np.zeros((2, 2), dtype=dtype)), table, 1000)


def test_all_arrays_together_have_a_limit():
    with pytest.raises(ValueError, match="more than 0 MB"):
        npz_arrays(saved(a=np.zeros((10, 10)), b=np.zeros(100)), ONE, 1000)


@pytest.mark.parametrize(
    "measure",
    ["[]", "{}", '{"name": 1, "short": "x"}', '{"name": "x", "short": "x", "colums": []}', "[" * 5000,
     '{"name": "x", "short": "x", "factor": Infinity}', '{"name": "x", "short": "x", "decimals": 1000000}'],
)  # fmt: skip
def test_a_measure_that_is_none_is_damage(measure):
    whole = trace_file.encoded(dipping(0, tasks=2, length=4))
    with np.load(io.BytesIO(whole)) as held:
        arrays = dict(held)
    with pytest.raises(ValueError, match="its measure is damaged"):
        trace_file.decoded(saved(**arrays, measure=np.array(measure)))


def test_a_trace_without_a_column_is_damage():
    with np.load(io.BytesIO(trace_file.encoded(dipping(0, tasks=2, length=4)))) as held:
        arrays = dict(held)
    del arrays["rows"]
    with pytest.raises(ValueError, match="it has no array 'rows'"):
        trace_file.decoded(saved(**arrays))
