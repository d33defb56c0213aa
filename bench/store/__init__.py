"""The run store: fingerprinted runs of parquet shards that are there whole or not at all."""

from bench.store.listing import RunSummary, list_runs
from bench.store.runs import Run, RunStore

__all__ = ["Run", "RunStore", "RunSummary", "list_runs"]
