"""Every table and figure by its name: the modules of this package, and those that installed packages add.

A table is the module `protocols/NAME.py` with the paper's numbers in `protocols/paper/NAME.csv`; nothing else names it.
A package adds tables through the entry-point group `efficientsam_bench.tables`: each entry point resolves to such a
module, whose folder holds the CSV.
"""

from __future__ import annotations

import importlib
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from importlib.metadata import EntryPoint
from pathlib import Path
from types import ModuleType
from typing import Any, Protocol

from bench.data.catalog import InstanceSet
from bench.metrics.random_effects import RandomEffectsMean
from models.errors import BenchError, unknown_name
from models.plugins import load as load_plugin
from models.plugins import plugins
from protocols.axes import Axes
from protocols.comparisons import Sampled
from protocols.data_set import DataSet
from protocols.measured import Measured
from protocols.paper import add_paper_table
from protocols.plan import Plan
from protocols.results import Column, Comparison, TableResult
from protocols.scores import CellRun, Scores
from protocols.settings import Settings
from protocols.watched import Watched

GROUP = "efficientsam_bench.tables"
"""Entry-point group of third-party tables."""
HERE = Path(__file__).parent


class Table(Protocol):
    """What a table's module says. Those under "usual values" may be left out, see `protocols.defaults`."""

    NAME: str
    """As commands call it."""
    TITLE: str
    TAKES: frozenset[str]
    """Options of `bench run` that mean something to it."""
    COLUMNS: tuple[Column, ...]

    # Of tables that models are asked for; a table made from records has `make` instead.
    VERSION: int
    """Changes when scoring or what models are asked changes."""
    DATA_SETS: tuple[str, ...]
    """Where there are several, the key of a column begins with the name of its own."""
    CARDS: str
    """Module of the models, see `protocols.registry.Registry`."""
    MODELS: str
    """What one of them is called."""
    WORLDS: Mapping[str, str]
    """Data (and models) of each scale in words."""
    COMPARED: Sequence[tuple[str, str]]
    """Pairs of rows that the paper compares, (first, second)."""
    ASK: str
    """"module:function" that makes records: (model, data, images, advance) -> DataFrame. Lazy, since it needs torch."""
    IMAGES_A_SHARD: int
    """A killed run loses at most one shard."""
    LIMITED: str
    """What a limit of {} images asks."""

    def micro_root(self) -> Path:
        """Draw the dead leaves on first use and return their folder."""

    def open_data(self, name: str, plan: Plan, settings: Settings) -> DataSet:
        """Open a data set; MissingData if it is not there."""

    def score(self, run: CellRun, data: DataSet) -> Scores:
        """Return values and intervals by key of the column."""

    def compare(self, first: Scores, second: Scores) -> Mapping[str, Any]:
        """Return the paired difference of each column, first - second."""

    def comparisons(self, measured: Measured) -> Iterator[Comparison]:
        """Compare rows: `comparisons.over_images`, `comparisons.over_seeds`, or a table's own way."""

    def footnotes(self, measured: Measured) -> Iterator[str]:
        """Say what was asked and left out."""

    # Usual values.
    MIXED: bool
    """Whether models of one scale can be asked about data of the other; usually not."""
    PHOTOS: str
    """Where not: the folder under BENCH_DATA that holds the paper's photos."""
    EXACT: bool
    """Whether models run on the exact engine; usually not."""
    ASKED_WITH: Sequence[str] | None
    """Axes that decide what models are asked and what records hold: a run is told from others by these alone, so that
    changing another one asks nothing again. None, as usually: all of them."""
    SCORED_WITH: Sequence[str]
    """Axes that decide how records are scored."""
    TIMES: Sequence[str]
    """Columns, of its records and of the table, that hold measured times: never the same twice, so that `bench verify`,
    `--adopt` and `bench regression` do not compare them. Usually none."""
    USUAL: Mapping[str, Any]
    """Axes that are not the paper's where the user chose no preset, of tables that the paper does not have."""
    has_column: Callable[[str, Axes], bool]
    """Whether a column, by its key, can be measured under some axes; usually all can."""
    MATTERS: Mapping[str, Sequence[str]]
    """Axes that decide what a column measures, by its key: only where all are the paper's is it compared with it."""
    OURS: Sequence[str]
    """Beginnings of rows whose weights the paper's authors could have released; others are quoted. Usually all."""
    NEVER_RELEASED: Mapping[str, str]
    """Why there is no full-size model of a row, where no card says it."""
    over_trainings: Callable[[Sequence[Scores], Sequence[Scores], str], RandomEffectsMean]
    """(first, second, column) -> difference over trainings of two rows; of tables that compare `over_seeds`."""
    resampled: Callable[[Scores, Sequence[int]], Mapping[str, Sampled]]
    """(scores, ids of the images that were asked) -> each column with its bootstrap samples, drawn alike for all runs
    about these images; of tables whose choices `bench explain` can weigh."""
    CONTROLS: Sequence[str]
    """Micro models that the paper has no row for, measured beside its rows; usually none."""
    TRAINED_WITH: str
    """Table whose trainings it is made of, if not its own."""
    TASK: str
    """What Hugging Face model cards call the task; usually mask-generation."""
    METRIC: str
    """What they call the metric, of tables with one alone; usually columns are metrics."""
    WATCHED: Watched | None
    """What of its records `bench regression` compares one by one; usually nothing."""
    note: Callable[[str], str]
    """(row) -> what a reader must know of the paper's row."""
    saved: Callable[[DataSet, Settings], Mapping[str, Any]]
    """Predictions that were saved when models were trained, see `protocols.saved_predictions`."""
    pairing: Callable[[Measured], str]
    """How rows are compared, in words."""
    count_prompts: Callable[[InstanceSet, Axes], int]
    """(published set, axes) -> how many prompts a model is asked about it, to estimate the time; usually none."""
    pictures: Callable[[Measured], Mapping[str, bytes]]
    """PNGs that are written beside the table, by what follows its name in theirs; usually none."""
    make: Callable[[ModuleType, Settings], TableResult | None]
    """Makes a table in a way of its own: from records of trainings, or by timing models."""
    state: Callable[[], str]
    """What such a table can be made of here, in words."""


def names() -> list[str]:
    """Return the names of all tables and figures, this project's first."""
    return [*_ours(), *sorted(_added())]


def find(name: str) -> ModuleType:
    """Return the module of a table.

    Raises:
        BenchError: if there is none, or the package that adds it cannot be loaded.
    """
    if name in _ours():
        return importlib.import_module(f"protocols.{name}")
    added = _added()
    if name not in added:
        raise unknown_name("table", name, names())
    return _load(added[name])


def _ours() -> list[str]:
    here = [path.stem for path in (HERE / "paper").glob("*.csv") if (HERE / path.name).with_suffix(".py").is_file()]
    return sorted(here, key=_order)


def _order(name: str) -> tuple[bool, str, int]:
    """Sort tables by number, then figures and what has none."""
    number = re.search(r"\d+$", name)
    return not name.startswith("table"), re.sub(r"\d+$", "", name), int(number[0]) if number else 0


def _added() -> dict[str, EntryPoint]:
    """Return what packages add; nobody replaces a table of this project."""
    ours = _ours()
    return {point.name: point for point in plugins(GROUP) if point.name not in ours}


def _load(point: EntryPoint) -> ModuleType:
    module = load_plugin(point)
    if not isinstance(module, ModuleType) or getattr(module, "NAME", None) != point.name:
        raise BenchError(
            f"the entry point '{point.name} = {point.value}' of group '{GROUP}' is no module of a table: "
            f"it must be a module with NAME = '{point.name}', see protocols/tables.py"
        )
    add_paper_table(point.name, Path(str(module.__file__)).with_name(f"{point.name}.csv"))
    return module
