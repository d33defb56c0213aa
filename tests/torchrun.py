"""Processes as torchrun starts them, but forked from one that has imported everything."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch.distributed.launcher.api import LaunchConfig, elastic_launch


def launch(processes: int, work: Callable[..., None], *arguments: Any) -> None:
    """Call `work` in several processes and wait for them; the process that calls may not have trained before."""
    config = LaunchConfig(
        min_nodes=1,
        max_nodes=1,
        nproc_per_node=processes,
        run_id="tests",
        rdzv_backend="c10d",
        rdzv_endpoint="localhost:0",
        start_method="fork",
    )
    elastic_launch(config, work)(*arguments)
