"""Export of records for data set hubs: a card with a YAML header, and Parquet files of cells and traces.

``pandas.read_parquet`` and ``datasets.load_dataset(FOLDER, "cells")`` read the export.
"""

from __future__ import annotations

import io
import json
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from clbench.core import store
from clbench.core.errors import Refused
from clbench.core.measure import ACCURACY
from clbench.core.public_names import public
from clbench.core.record import Kind, Record, Trace
from clbench.core.shown_text import shown
from clbench.leaderboard.board import board
from clbench.leaderboard.frame import frame
from clbench.leaderboard.text_tables import escaped, markdown
from clbench.metrics import get as get_metric
from clbench.metrics import metric_names

if TYPE_CHECKING:
    from pandas import DataFrame
    from pyarrow import Table

MARK = "<!-- written by clbench board --format hub; a later export replaces this file, but for the licence -->"

READINGS = Path("data", "readings.parquet")
"""The place of readings in an export."""
READINGS_CONFIG = """\
- config_name: readings
  data_files: [{split: train, path: data/readings.parquet}]
"""
READINGS_COLUMNS = """
## Columns of `readings`

| column | what |
|---|---|
| `key` | the run, as in `cells` |
| `reading` | the name of the reading, with settings that differ from their default |
| `step` | optimiser steps done |
| `place` | which number of the reading, from 0; of `cka` the task |
| `value` | the number; those without a value have no row |
"""

COLUMNS = {
    "benchmark": "name and version of the benchmark",
    "strategy": "the strategy's label on leaderboards",
    "engine": "whose training loop ran it: clbench, or another library",
    "settings": "how its settings were found: default, given, or by a search; only if any were searched",
    "seed": "determines stream, order and initial weights, equally for all strategies",
    "status": "done, skipped, diverged or failed",
    "reason": "the reason if it is not done",
    "cost_*": "the cost of the run: steps, samples, FLOPs, seconds, bytes",
    "key": "content hash of the cell; the same in both tables",
    "fingerprint": "hash of the stream that was learned",
    "created": "when the record was written, UTC",
    "alarms": "results that look wrong although nothing failed",
    "environment_*": "versions and hardware of the run",
    "cell": "all settings that determine the run, as JSON",
}


def export(records: Iterable[Record], folder: Path) -> list[Path]:
    """Write ``README.md``, ``data/cells.parquet``, ``data/traces.parquet``, and ``data/readings.parquet`` if there are
    readings.

    Args:
        records: Records of one benchmark or several.
        folder: A folder that is new, empty, or an earlier export, which is replaced. The licence in its card is kept.

    Returns:
        The paths of the files.

    Raises:
        Refused: The folder contains other files, or cannot be written.
    """
    records = sorted(records, key=lambda r: (r.benchmark, r.label, r.seed, r.key))
    card = folder / "README.md"
    before = card.read_text(encoding="utf-8") if card.is_file() else ""
    if folder.exists() and not (folder.is_dir() and (MARK in before or not any(folder.iterdir()))):
        raise Refused(f"{folder} holds something else than an export of clbench; name a new folder, or an empty one")
    contents = {
        folder / "data" / "cells.parquet": _parquet(_plain(cells(records))),
        folder / "data" / "traces.parquet": _parquet(traces(records)),
        card: _card(records, licence=_licence(before)).encode(),
    }
    read = readings(records)
    if len(read):
        contents[folder / READINGS] = _parquet(read)
    try:
        for path, content in contents.items():
            store.write(path, content)
        if not len(read):
            (folder / READINGS).unlink(missing_ok=True)  # of an earlier export
    except OSError as error:
        raise Refused(f"{folder} cannot be written ({error.strerror}); name another folder") from None
    return list(contents)


def cells(records: Sequence[Record]) -> DataFrame:
    """Return a row per cell: the columns of :func:`clbench.leaderboard.frame.frame` without traces, and ``cell`` as
    JSON."""
    table = frame(records, settings=False).drop(columns="trace")
    table = table.apply(lambda column: column.map(public) if column.dtype.kind == "O" else column)
    written = {record.key: json.dumps(public(record.cell), sort_keys=True) for record in records}
    made: DataFrame = table.assign(cell=[written[key] for key in table["key"]])
    return made


def traces(records: Sequence[Record]) -> Table:
    """Return a row per evaluation and evaluated task: ``key look step kind experience task score``."""
    import pyarrow as pa

    parts = [_long(record.key, record.trace) for record in records if record.trace is not None]
    schema = pa.schema(
        {
            "key": pa.string(), "look": pa.int32(), "step": pa.int64(), "kind": pa.string(),
            "experience": pa.int32(), "task": pa.int32(), "score": pa.float64(),
        }
    )  # fmt: skip
    return pa.concat_tables([part.cast(schema) for part in parts]) if parts else schema.empty_table()


def readings(records: Sequence[Record]) -> Table:
    """Return a row per number of a reading: ``key reading step place value``."""
    import pyarrow as pa

    schema = pa.schema(
        {"key": pa.string(), "reading": pa.string(), "step": pa.int64(), "place": pa.int32(), "value": pa.float32()}
    )
    parts = []
    for record in records:
        for name, (steps, values) in ({} if record.trace is None else record.trace.readings).items():
            flat = values.reshape(len(steps), -1)  # (J, numbers)
            at, place = np.nonzero(~np.isnan(flat))
            columns = [[record.key] * len(at), [public(name)] * len(at), steps[at], place, flat[at, place]]
            parts.append(pa.table(dict(zip(schema.names, columns, strict=True))).cast(schema))
    return pa.concat_tables(parts) if parts else schema.empty_table()


def _long(key: str, trace: Trace) -> Table:
    import pyarrow as pa

    look, task = np.nonzero(~np.isnan(trace.score))
    kinds = np.array([Kind(kind).name.lower() for kind in trace.kind])
    return pa.table(
        {
            "key": [key] * len(look),
            "look": look,
            "step": trace.step[look],
            "kind": kinds[look],
            "experience": trace.experience[look],
            "task": task,
            "score": trace.score[look, task],
        }
    )


def _plain(table: DataFrame) -> Table:
    """Replace tuples by lists, and mixed types in columns of provenance by text."""
    import pyarrow as pa

    table = table.assign(alarms=table["alarms"].map(list))
    for name in table.columns:
        if name.startswith("environment_") and table[name].dtype == object:
            table[name] = [None if value is None or value != value else str(value) for value in table[name]]
    made = pa.Table.from_pandas(table, preserve_index=False)
    place = made.schema.get_field_index("alarms")
    return made.set_column(place, "alarms", made.column(place).cast(pa.list_(pa.string()))).replace_schema_metadata()


def _parquet(table: Table) -> bytes:
    import pyarrow.parquet as pq

    buffer = io.BytesIO()
    pq.write_table(table, buffer, compression="zstd")
    return buffer.getvalue()


# --------------------------------------------------------------------------------------------------- the card


def _licence(card: str) -> str:
    found = re.search(r"^license: *(.+)$", card, flags=re.MULTILINE)
    return f"license: {found.group(1)}" if found else "# license: yours to choose, such as cc-by-4.0"


def _card(records: Sequence[Record], *, licence: str) -> str:
    counts = Counter(record.benchmark for record in records)
    names = ", ".join(escaped(shown(name)) for name in counts)
    versions = ", ".join(sorted({escaped(shown(record.environment.get("clbench", "?"))) for record in records}))
    listed = "\n".join(f"- {_code(name)}: {number} cells" for name, number in counts.items())
    metrics = "\n".join(
        f"| `{name}` | {get_metric(name).title}: {_cell(get_metric(name).formula)} |" for name in metric_names()
    )
    measures = {record.trace.measure for record in records if record.trace is not None} or {ACCURACY}
    scores = " or ".join(sorted("accuracy, in [0, 1]," if m == ACCURACY else m.name for m in measures))
    columns = "\n".join(f"| `{name}` | {what} |" for name, what in COLUMNS.items())
    read = any(record.trace is not None and record.trace.readings for record in records)
    config, described = (READINGS_CONFIG, READINGS_COLUMNS) if read else ("", "")
    return f"""---
pretty_name: {json.dumps(f"Continual-learning results on {', '.join(map(shown, counts))}")}
{licence}
tags: [continual-learning, benchmark, leaderboard, clbench]
configs:
- config_name: cells
  default: true
  data_files: [{{split: train, path: data/cells.parquet}}]
- config_name: traces
  data_files: [{{split: train, path: data/traces.parquet}}]
{config}---
{MARK}

# Continual-learning results on {names}

A row per run (`cells`), and the accuracy on every task in every evaluation of it (`traces`). A run is one strategy on
one stream of experiences with one seed. Strategies with one seed share stream, order and initial weights, so rows are
paired.

{listed}

## How it was made

By clbench {versions}. The column `cell` holds every setting of a run; the same settings give the same `key`, and
`clbench run BENCHMARK --out DIR` makes the records again. Metrics are pure functions of the traces, computed when this
was exported.

{markdown(board(records))}
## Columns of `cells`

| column | what |
|---|---|
{columns}

Metrics, fractions in [0, 1] unless they say otherwise; empty where undefined and in cells that are not done:

| column | what |
|---|---|
{metrics}

## Columns of `traces`

| column | what |
|---|---|
| `key` | the run, as in `cells` |
| `look` | number of the evaluation in its run, from 0 |
| `step` | optimiser steps done |
| `kind` | start, step, end of an experience, or switch: after an experience began, before its first step |
| `experience` | the running experience; -1 before the first |
| `task` | number of the task that was evaluated |
| `score` | {scores} on its test samples; tasks that were not evaluated have no row |
{described}
## How to read it

```python
import pandas as pd

cells, traces = pd.read_parquet("data/cells.parquet"), pd.read_parquet("data/traces.parquet")
```

or `datasets.load_dataset(NAME, "cells", split="train")`.
"""


def _code(text: str) -> str:
    """Return a name in the letters of code."""
    return "`" + shown(text).replace("`", "'") + "`"


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")
