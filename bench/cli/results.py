"""`bench results`: all finished tables as one leaderboard, and a model's numbers for its card."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import tyro

from bench.cli.as_json import AsJson, print_json
from bench.cli.run import OUT
from bench.progress import notice
from models.errors import BenchError
from protocols import tables
from protocols.defaults import of
from reports.gather import Entry, gather, of_model
from reports.leaderboard import write_leaderboard, write_texts
from reports.model_index import file_name, to_model_index
from reports.write import check_folder


def results(
    folders: Annotated[tuple[Path, ...], tyro.conf.Positional, tyro.conf.arg(metavar="FOLDER ...")] = (OUT,),
    /,
    out: Path = OUT,
    model_index: Annotated[str | None, tyro.conf.arg(metavar="NAME")] = None,
    source: Annotated[str | None, tyro.conf.arg(metavar="URL")] = None,
    as_json: AsJson = False,
) -> None:
    """Gather the numbers of all reports into leaderboard.csv, .md and .html.

    Numbers are ranked only among those of the same table, column, protocol, data, engine and scale: micro, paper and
    data of your own are never mixed. Of a number that was measured twice in the same way the newest counts. Reports of
    other versions and damaged ones are named and left out.

    Args:
        folders: Of reports, what `bench run --out` was given.
        out: Folder of the leaderboard.
        model_index: Also write the numbers of one model as the block `model-index` of a Hugging Face model card.
        source: Address of the page where these numbers stand, for that block.
        as_json: Print all numbers as JSON.
    """
    if source is not None and model_index is None:
        raise BenchError("--source is about a model's card: give --model-index NAME too")
    entries, left_out = gather(folders)
    for line in left_out:
        notice(line)
    check_folder(out)
    files = []
    if model_index is not None:
        block = to_model_index(of_model(entries, model_index), model_index, _kinds, source)
        files = write_texts({file_name(model_index): block}, out)
    files = [*write_leaderboard(entries, out), *files]
    if as_json:
        print_json([entry._asdict() for entry in entries])
    else:
        print(_summary(entries))
    notice(f"wrote {', '.join(map(str, files))}")


def _summary(entries: list[Entry]) -> str:
    reports, models = ({getattr(entry, name) for entry in entries} for name in ("report", "model"))
    return f"{len(entries):,} numbers of {len(models):,} models from {len(reports):,} reports"


def _kinds(name: str) -> tuple[str, str]:
    """Return the task and the metric of a table, as model cards call them; the usual ones of a table that is gone."""
    try:
        table = tables.find(name)
    except BenchError:  # of a package that is not installed here
        return "mask-generation", ""
    return of(table, "TASK"), of(table, "METRIC")
