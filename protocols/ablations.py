"""Tables made of training records: one variant of the recipe a row, means over seeds, compared over the same seeds.

Tables 6 and 7 and the two further ablations of section 4.4 are data for this module (`table6`, `table7`,
`section44`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from bench.metrics.random_effects import CrossedMean, crossed_mean
from models.errors import BenchError
from protocols.paper import claims, paper_value
from protocols.results import Cell, Column, Comparison, Row, TableResult
from protocols.training_records import RECORDS, TrainingRecord, read_records
from protocols.verdicts import SEEDS_WANTED, compared_over_seeds

COLUMN = Column("top1", "top-1", "ImageNet-1K")
INTERVAL = "95 % interval over training seeds and images"
PAIRING = "paired over the same seeds and images"
METHOD = (
    "intervals and p: two-way random effects of seeds and images, Satterthwaite's degrees of freedom; "
    "two variants are decided apart where p < 0.05"
)

Records = Mapping[str, Mapping[int, TrainingRecord]]


class Variant(NamedTuple):
    """One row."""

    label: str
    """As in the paper's table."""
    run: str
    """Name of its records."""
    table: str | None
    """Of the paper, that has its number; None if none has."""
    note: str = ""


@dataclass(frozen=True, slots=True)
class Ablation:
    """One table of variants."""

    name: str
    title: str
    variants: tuple[Variant, ...]
    compared: tuple[tuple[str, str], ...]
    """Pairs of rows whose difference the paper speaks of, first - second."""
    notes: tuple[str, ...] = ()

    @property
    def runs(self) -> tuple[str, ...]:
        """Return the names of the records."""
        return tuple(variant.run for variant in self.variants)


def make_ablation(
    ablation: Ablation,
    *,
    scale: str = "auto",
    command: str = "",
    provenance: Mapping[str, Any] | None = None,
    folder: Path = RECORDS,
) -> TableResult:
    """Return the table of an ablation from the records in a folder.

    Args:
        ablation: what is compared.
        scale: of the records; auto: the paper's where there are any, else micro.
        command: that made it.
        provenance: of this run; that of the trainings is added.
        folder: of the records.

    Raises:
        BenchError: if a record is damaged, or paper scale was asked for and nothing was trained.
    """
    of_paper = read_records(ablation.runs, "paper", folder) if scale != "micro" else {}
    if scale == "paper" and not of_paper:
        raise BenchError(
            f"no training of {ablation.name} at paper scale is recorded in {folder}: it takes `bench train` on GPUs "
            "first, or use --scale micro"
        )
    found, records = ("paper", of_paper) if of_paper else ("micro", read_records(ablation.runs, "micro", folder))
    return TableResult(
        name=ablation.name,
        title=ablation.title,
        scale=found,
        world=_world(found, records),
        comparable=found == "paper",
        preset="",
        columns=(COLUMN,),
        rows=tuple(Row(v.label, v.run if v.run in records else None, note=v.note) for v in ablation.variants),
        cells=tuple(_cell(ablation, variant, records) for variant in ablation.variants),
        comparisons=tuple(_comparisons(ablation, records)),
        footnotes=(METHOD, *_extent(ablation, records), *ablation.notes),
        command=command,
        provenance={**(provenance or {}), "trainings": _trainings(records)},
        interval=INTERVAL,
        pairing=PAIRING,
        row_head="variant",
    )


def seeds_of(records: Mapping[int, TrainingRecord]) -> np.ndarray:
    """Return float [S, N], 1 where the model of a seed was right."""
    return np.stack([records[seed].correct for seed in sorted(records)]).astype(np.float64)


def difference(records: Records, first: str, second: str) -> CrossedMean | None:
    """Return the mean difference of two runs over the seeds that both have, None if they share none."""
    one, other = records.get(first, {}), records.get(second, {})
    shared = sorted(one.keys() & other.keys())
    if not shared:
        return None
    return crossed_mean(seeds_of({s: one[s] for s in shared}) - seeds_of({s: other[s] for s in shared}))


def too_few(seeds: int) -> str:
    """Say what fewer seeds than wanted mean, nothing if there are enough.

    >>> too_few(3), too_few(1)
    ('', 'only 1 of 3 seeds: says nothing of other trainings')
    """
    if seeds >= SEEDS_WANTED:
        return ""
    meaning = "says nothing of other trainings" if seeds == 1 else "the interval is a rough one"
    return f"only {seeds} of {SEEDS_WANTED} seeds: {meaning}"


def train_command(table: str) -> str:
    """Return the command that trains what a table needs."""
    session = table if table in ("ablations", "figure7") else f"reproduce_{table}"
    return f"`nox -s {session} -- --train`"


def _cell(ablation: Ablation, variant: Variant, records: Records) -> Cell:
    paper = _printed(variant)
    if variant.run not in records:
        why = f"no record of {variant.run}: train it with {train_command(ablation.name)}"
        return Cell(variant.label, COLUMN.key, "not trained yet", paper, why=why)
    mean = crossed_mean(seeds_of(records[variant.run]))
    return Cell(
        variant.label,
        COLUMN.key,
        "measured",
        paper,
        mean.value,
        mean.low,
        mean.high,
        mean.seeds * mean.images,
        too_few(mean.seeds),
    )


def _printed(variant: Variant) -> float | None:
    """Return the paper's number of a variant, 0..1."""
    return None if variant.table is None else paper_value(variant.table, variant.label, COLUMN.key)


def _comparisons(ablation: Ablation, records: Records) -> Iterator[Comparison]:
    variants = {variant.label: variant for variant in ablation.variants}
    claimed = {(claim.first, claim.second): claim.claimed for claim in claims(ablation.name)}
    for first, second in ablation.compared:
        one, other = (_printed(variants[label]) for label in (first, second))
        printed = None if one is None or other is None else round(one - other, 6)
        ours = difference(records, variants[first].run, variants[second].run)
        paper = claimed.get((first, second), printed)
        yield compared_over_seeds(first, second, COLUMN.key, paper, ours)


def _world(scale: str, records: Records) -> str:
    if not records:
        return "nothing is trained yet"
    images = {len(record.correct) for seeds in records.values() for record in seeds.values()}
    data = "ImageNet" if scale == "paper" else "dead leaves as ImageNet, micro encoders"
    return f"{data}; {max(images):,} held-out images; from training records"


def _extent(ablation: Ablation, records: Records) -> Iterator[str]:
    """Say what each seed of a variant gave."""
    for variant in ablation.variants:
        of_seed = records.get(variant.run, {})
        each = ", ".join(f"{100 * of_seed[seed].correct.mean():.1f} (seed {seed})" for seed in sorted(of_seed))
        if each:
            yield "; ".join(part for part in (f"{variant.label}: {each}", too_few(len(of_seed))) if part)


def _trainings(records: Records) -> dict[str, Any]:
    """Return what each training was and how long it took."""
    return {
        f"{run}-seed{seed}": {"variant": dict(record.variant), "seconds": round(record.seconds)}
        for run, seeds in records.items()
        for seed, record in sorted(seeds.items())
    }
