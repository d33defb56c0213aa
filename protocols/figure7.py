"""Figure 7: mIoU from box prompts against epochs of finetuning on SA-1B, from committed records (section 4.4)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from types import ModuleType

import numpy as np

from bench.metrics.random_effects import RandomEffectsMean, random_effects_mean, ratio_values
from bench.processes import this_process
from models.errors import BenchError
from protocols.ablation_table import PAIRING, TAKES, train_command
from protocols.comparisons import METHOD, cell_of_mean, compared_over_seeds, p_words, too_few
from protocols.paper import paper_value
from protocols.paper.ledger import differences
from protocols.results import Cell, Column, Comparison, Row, TableResult
from protocols.settings import Settings
from protocols.training_records import CurveRecord, read_curves

__all__ = ["TAKES", "make"]

NAME = "figure7"
TITLE = "Epochs of finetuning, mIoU from box prompts (Figure 7)"
EPOCHS = (0.1, 0.2, 0.5, 1.0, 2.0, 5.0)
"""Where the curve is looked at; the paper finetunes for 5."""
MODELS = {
    "EfficientSAM-Ti": "efficientsam-ti-micro",
    "EfficientSAM-S": "efficientsam-s-micro",
    "SAM-MAE-Ti": "sam-mae-ti-micro",
    "no pretraining, Ti": "sam-scratch-ti-micro",
}
"""Column -> name of the records; the paper's figure has the first two."""
STARTS = (("EfficientSAM-Ti", "SAM-MAE-Ti"), ("EfficientSAM-Ti", "no pretraining, Ti"))
"""Columns that differ in what finetuning starts from."""
COLUMNS = tuple(Column(label, label, "COCO") for label in MODELS)

Curves = Mapping[str, Mapping[int, CurveRecord]]


def label_of(epochs: float) -> str:
    """Return the name of a row.

    >>> label_of(0.1), label_of(1.0), label_of(5.0)
    ('0.1 epochs', '1 epoch', '5 epochs')
    """
    return f"{epochs:g} epoch{'' if epochs == 1 else 's'}"


def make(table: ModuleType, settings: Settings) -> TableResult | None:
    """Return the curves of both models, means over seeds, from records; None on all but the first process.

    Raises:
        BenchError: if a record is damaged, or paper scale was asked for.
    """
    if settings.scale == "paper":
        raise BenchError(f"no finetuning at paper scale is recorded for {NAME}: use --scale micro")
    if not this_process().is_first:
        return None
    curves = read_curves(tuple(MODELS.values()), settings.records)
    trainings = {f"{m}-seed{s}": {"epochs": sorted(c.points)} for m, seeds in curves.items() for s, c in seeds.items()}
    return TableResult(
        name=NAME,
        title=TITLE,
        scale="micro",
        world="dead leaves at 256 px, micro models; from training records" if curves else "nothing is trained yet",
        comparable=False,
        preset="",
        columns=COLUMNS,
        rows=tuple(Row(label_of(epochs), None) for epochs in EPOCHS),
        cells=tuple(_cell(curves, epochs, column.key) for epochs in EPOCHS for column in COLUMNS),
        comparisons=tuple(_gains(curves)),
        footnotes=tuple(_notes(curves)),
        command=settings.command,
        provenance={**settings.provenance, "trainings": trainings},
        interval="95 % interval over training seeds and images",
        pairing=PAIRING,
        row_head="finetuning",
        x=EPOCHS,
    )


def _values(of_seed: Mapping[int, CurveRecord], epochs: float) -> np.ndarray:
    """Return values float [S, N] over images of seeds that all reached an epoch."""
    _, member = np.unique(of_seed[min(of_seed)].image_id, return_inverse=True)
    sums = np.stack([np.bincount(member, weights=of_seed[seed].points[epochs]) for seed in sorted(of_seed)])
    return ratio_values(sums, np.bincount(member))


def _reached(curves: Curves, column: str, *epochs: float) -> dict[int, CurveRecord]:
    """Return the records by seed that have all these epochs."""
    of_seed = curves.get(MODELS[column], {})
    return {seed: record for seed, record in of_seed.items() if all(e in record.points for e in epochs)}


def _cell(curves: Curves, epochs: float, column: str) -> Cell:
    paper = paper_value(NAME, label_of(epochs), column)  # that of the end alone is printed, in Table 4
    of_seed = _reached(curves, column, epochs)
    if not of_seed:
        why = f"no record of {MODELS[column]}: train it with {train_command(NAME)}"
        return Cell(label_of(epochs), column, "not trained yet", paper, why=why)
    mean = random_effects_mean(_values(of_seed, epochs))
    count = sum(len(record.image_id) for record in of_seed.values())
    return cell_of_mean(label_of(epochs), column, paper, mean, count)


def _gains(curves: Curves) -> Iterator[Comparison]:
    for claim in differences(NAME):
        ours = _gain(curves, claim.column, claim.first, claim.second)
        yield compared_over_seeds(claim.first, claim.second, claim.column, claim.claimed, ours)


def _gain(curves: Curves, column: str, first: str, second: str) -> RandomEffectsMean | None:
    named = {label_of(epochs): epochs for epochs in EPOCHS}
    of_seed = _reached(curves, column, named[first], named[second])
    return random_effects_mean(_values(of_seed, named[first]) - _values(of_seed, named[second])) if of_seed else None


def _starts(curves: Curves) -> Iterator[str]:
    """Say at each epoch what a start is ahead of another, over the seeds that both have."""
    for first, second in STARTS:
        said = []
        for epochs in EPOCHS:
            one, other = _reached(curves, first, epochs), _reached(curves, second, epochs)
            shared = sorted(one.keys() & other.keys())
            if shared:
                mean = random_effects_mean(
                    _values({s: one[s] for s in shared}, epochs) - _values({s: other[s] for s in shared}, epochs)
                )
                reach = 100 * (mean.high - mean.value)
                said.append(f"{label_of(epochs)} {100 * mean.value:+.1f} ±{reach:.1f} ({p_words(mean.p)})")
        if said:
            yield f"{first} - {second}: {', '.join(said)}"


def _notes(curves: Curves) -> Iterator[str]:
    yield METHOD
    yield "the paper: decent from 0.1 epochs on, and more than 2.5 mIoU better after 1 epoch, for both models"
    yield "verdicts are about the sign of that gain, not its size"
    for column in MODELS:
        of_seed = _reached(curves, column, EPOCHS[0], EPOCHS[-1])
        if of_seed:
            start, end = (float(_values(of_seed, epochs).mean()) for epochs in (EPOCHS[0], EPOCHS[-1]))
            yield f"{column}: 0.1 epochs give {100 * start / end:.0f} % of the mIoU after {EPOCHS[-1]:g}"
            if few := too_few(len(of_seed)):
                yield f"{column}: {few}"
    yield from _starts(curves)
