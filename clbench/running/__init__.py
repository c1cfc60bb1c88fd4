"""From a benchmark to records: plan of cells, run of one cell, worker processes, locks, snapshots, saved models."""
