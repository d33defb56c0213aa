"""`--engine`: a run of its own, labelled, and never compared with a paper where it is not exact."""

from __future__ import annotations

from dataclasses import replace

import pytest

from bench.cli.run import check_options
from models.errors import BenchError
from protocols import table4, table6
from protocols.run import identity_of
from protocols.settings import Settings


class _Model:
    name, checkpoint_sha256, custom = "toy", None, False


def test_an_engine_is_part_of_a_run_s_identity_and_the_exact_one_is_what_runs_were_before(tmp_path) -> None:
    settings = Settings(store=None, progress=None)  # type: ignore[arg-type]
    exact, fast = (identity_of(_Model, replace(settings, engine=engine)) for engine in ("exact", "fast"))
    assert "engine" not in exact
    assert fast == exact | {"engine": "fast"}


def test_tables_without_a_promptable_network_take_no_engine() -> None:
    check_options(table4, ["engine"])
    with pytest.raises(BenchError, match="--engine means nothing to table6"):
        check_options(table6, ["engine"])
