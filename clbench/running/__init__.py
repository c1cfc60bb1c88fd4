"""From a benchmark to its records: the plan of cells, single runs, worker processes, locks, snapshots and saved
models."""
