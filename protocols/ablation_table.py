"""Tables made of training records: one variant of the recipe a row, means over seeds, compared over the same seeds.

The module of such a table (`table6`, `table7`, `ablations`) is data: NAME, TITLE, VARIANTS (its rows), COMPARED (pairs
of rows whose difference the paper speaks of, first - second) and NOTES. Beside the paper's top-1 stand measures of ours
with less variance: what the frozen encoder is worth before it is finetuned.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from types import ModuleType
from typing import Any, NamedTuple

from bench.metrics.random_effects import random_effects_mean
from bench.processes import this_process
from models.errors import BenchError
from protocols.comparisons import METHOD, cell_of_mean, compared_over_seeds, difference, seeds_of, too_few, with_measure
from protocols.paper import paper_difference, paper_value
from protocols.paper.ledger import differences
from protocols.results import Cell, Column, Comparison, Row, TableResult
from protocols.settings import Settings
from protocols.training_records import Records, read_records

TOP1 = Column("top1", "top-1", "ImageNet-1K")
PROBES = (
    Column("knn", "k-NN", "frozen, ours"),
    Column("linear", "linear", "frozen, ours"),
    Column("variance", "R2", "frozen, ours"),
)
"""Shown where records have them: top-1 of 20 nearest neighbours and of logistic regression on the frozen features, and
the share of the variance of SAM's features that a linear map of the frozen tokens explains."""
COLUMNS = (TOP1, *PROBES)
PROBE_NOTE = (
    "frozen, ours: measures of the encoder before it is finetuned, which the paper has not: top-1 of 20 nearest "
    "neighbours and of logistic regression, and the share of the variance of SAM's features of held-out images that a "
    "linear map of its tokens explains"
)
TAKES = frozenset({"scale"})
INTERVAL = "95 % interval over training seeds and images"
PAIRING = "paired over the same seeds and images"


class Variant(NamedTuple):
    """One row."""

    label: str
    """As in the paper's table."""
    run: str
    """Name of its records."""
    note: str = ""


def make(table: ModuleType, settings: Settings) -> TableResult | None:
    """Return a table of variants from the records of their trainings; None on all but the first process.

    Args:
        table: its module.
        settings: the scale of the records (auto: the paper's where there are any, else micro) and their folder.

    Raises:
        BenchError: if a record is damaged, or paper scale was asked for and nothing was trained.
    """
    if not this_process().is_first:
        return None
    runs, folder = tuple(variant.run for variant in table.VARIANTS), settings.records
    of_paper = read_records(runs, "paper", folder) if settings.scale != "micro" else {}
    if settings.scale == "paper" and not of_paper:
        raise BenchError(
            f"no training of {table.NAME} at paper scale is recorded in {folder}: it takes `bench train` on GPUs "
            "first, or use --scale micro"
        )
    found, records = ("paper", of_paper) if of_paper else ("micro", read_records(runs, "micro", folder))
    probed = any(record.probes for seeds in records.values() for record in seeds.values())
    columns = COLUMNS if probed else (TOP1,)
    return TableResult(
        name=table.NAME,
        title=table.TITLE,
        scale=found,
        world=_world(found, records),
        comparable=found == "paper",
        preset="",
        columns=columns,
        rows=tuple(Row(v.label, v.run if v.run in records else None, note=v.note) for v in table.VARIANTS),
        cells=tuple(_cell(table, variant, column.key, records) for variant in table.VARIANTS for column in columns),
        comparisons=tuple(_comparisons(table, columns, records)),
        footnotes=(METHOD, *_extent(table, records), *([PROBE_NOTE] if probed else []), *table.NOTES),
        command=settings.command,
        provenance={**settings.provenance, "trainings": _trainings(records)},
        interval=INTERVAL,
        pairing=PAIRING,
        row_head="variant",
    )


def train_command(table: str) -> str:
    """Return the command that trains what a table needs."""
    return f"`nox -s reproduce_{table} -- --train`"


def _cell(table: ModuleType, variant: Variant, column: str, records: Records) -> Cell:
    paper = paper_value(table.NAME, variant.label, column)
    of_seed = with_measure(records.get(variant.run, {}), column)
    if not of_seed:
        why = f"no record of {variant.run}: train it with {train_command(table.NAME)}"
        return Cell(variant.label, column, "not trained yet", paper, why=why)
    mean = random_effects_mean(seeds_of(of_seed, column))
    return cell_of_mean(variant.label, column, paper, mean, mean.seeds * mean.images)


def _comparisons(table: ModuleType, columns: Sequence[Column], records: Records) -> Iterator[Comparison]:
    variants = {variant.label: variant for variant in table.VARIANTS}
    claimed = {(claim.first, claim.second, claim.column): claim.claimed for claim in differences(table.NAME)}
    for first, second in table.COMPARED:
        for key in [column.key for column in columns]:
            printed = paper_difference(table.NAME, first, second, key)
            pair = variants[first].run, variants[second].run
            ours = difference(records, *pair, key) if len(_budgets(records, *pair)) == 1 else None
            yield compared_over_seeds(first, second, key, claimed.get((first, second, key), printed), ours)


def _world(scale: str, records: Records) -> str:
    if not records:
        return "nothing is trained yet"
    images = {len(record.correct) for seeds in records.values() for record in seeds.values()}
    data = "ImageNet" if scale == "paper" else "dead leaves as ImageNet, micro encoders"
    return f"{data}; {max(images):,} held-out images; from training records"


def _extent(table: ModuleType, records: Records) -> Iterator[str]:
    """Say what each seed of a variant gave, and where variants differ in how long they were pretrained."""
    several = len(_budgets(records, *records)) > 1
    for variant in table.VARIANTS:
        of_seed = records.get(variant.run, {})
        each = ", ".join(f"{100 * of_seed[seed].correct.mean():.1f} (seed {seed})" for seed in sorted(of_seed))
        steps = " and ".join(f"{steps:,}" for steps in sorted(_budgets(records, variant.run) - {None}))
        pretrained = f"pretrained for {steps} steps, compared with its like alone" if several and steps else ""
        if each:
            yield "; ".join(part for part in (f"{variant.label}: {each}", too_few(len(of_seed)), pretrained) if part)


def _budgets(records: Records, *runs: str) -> set[Any]:
    """Return for how many steps these runs were pretrained."""
    return {record.steps for run in runs for record in records.get(run, {}).values()}


def _trainings(records: Records) -> dict[str, Any]:
    """Return what each training was and how long it took."""
    return {
        f"{run}-seed{seed}": {"variant": dict(record.variant), "seconds": round(record.seconds)}
        for run, seeds in records.items()
        for seed, record in sorted(seeds.items())
    }
