"""Whether two frames hold the same records, and if not, the first one that differs."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import pyarrow as pa

TOLERANCE = 1e-6
"""Numbers up to which two floats may be apart and count as rounding, which is reported apart from equality. Records
hold shares and scores of 0..1 that networks compute in float32, whose spacing below 1 is 6e-8: another order of
summation moves some by a few such steps. Our choice."""


class Difference(NamedTuple):
    """The first value of an image's records that is not the same."""

    image_id: Any
    """A whole number, but for records that no `bench run` wrote."""
    record: int
    """Which record of its image, from 0."""
    about: dict[str, int | str]
    """What tells that record from others of its image, by column."""
    column: str
    """Empty where one of the two has no such record, or other columns."""
    stored: Any
    now: Any

    @property
    def words(self) -> str:
        """Say which record it is and what differs."""
        about = ", ".join(f"{name} {value}" for name, value in self.about.items())
        record = f"image {self.image_id}, record {self.record + 1}{f' ({about})' if about else ''}"
        return f"{record}: {f'{self.column} ' if self.column else ''}{_short(self.stored)} -> {_short(self.now)}"


class Compared(NamedTuple):
    """What a comparison of an image's records gave."""

    difference: Difference | None
    """None if all are the same, to within `TOLERANCE`."""
    rounding: float
    """Largest difference of two numbers that counts as rounding; 0 if all are identical."""


def as_stored(records: pd.DataFrame) -> pd.DataFrame:
    """Return records with the types that they would have once written and read."""
    # One thread: a table of few rows is done before a second one has started.
    stored: pd.DataFrame = pa.Table.from_pandas(records, preserve_index=False, nthreads=1).to_pandas(use_threads=False)
    return stored


def compare(stored: pd.DataFrame, now: pd.DataFrame, image_id: int) -> Compared:
    """Compare the records of one image in their order.

    Args:
        stored: as a store returned them.
        now: made anew, `as_stored`.
        image_id: of the image, to name the place.
    """
    if set(stored.columns) != set(now.columns) and len(stored) + len(now):
        alone = (sorted(set(map(str, one)) - set(map(str, other))) for one, other in ((stored, now), (now, stored)))
        columns = (f"columns of its own: {', '.join(names) or 'none'}" for names in alone)
        return Compared(Difference(image_id, 0, {}, "", *columns), 0.0)
    shared = min(len(stored), len(now))
    apart = {
        name: _apart(stored[name].iloc[:shared], now[name].iloc[:shared]) for name in stored.columns if name in now
    }
    first = min(
        ((int(np.argmax(gap > TOLERANCE)), name) for name, gap in apart.items() if (gap > TOLERANCE).any()),
        key=lambda place: place[0],
        default=None,
    )
    if first is not None:
        row, name = first
        values = (_plain(frame[name].iloc[row]) for frame in (stored, now))
        return Compared(Difference(image_id, row, _about(stored, row), name, *values), 0.0)
    if len(stored) != len(now):
        longer = stored if len(stored) > len(now) else now
        counts = (f"{len(frame)} records" for frame in (stored, now))
        return Compared(Difference(image_id, shared, _about(longer, shared), "", *counts), 0.0)
    return Compared(None, max((float(gap.max(initial=0.0)) for gap in apart.values()), default=0.0))


def _apart(stored: pd.Series, now: pd.Series) -> np.ndarray:
    """Return how far values are apart, float64 [N]: 0 for equal ones, infinity for what is no float and not equal."""
    if stored.dtype.kind == now.dtype.kind == "f":
        ours, theirs = (column.to_numpy(dtype=np.float64) for column in (stored, now))
        with np.errstate(invalid="ignore"):
            gap = np.abs(ours - theirs)
        gap[(ours == theirs) | (np.isnan(ours) & np.isnan(theirs))] = 0.0
        return np.nan_to_num(gap, nan=np.inf)
    same = [_same(a, b) for a, b in zip(stored.astype(object), now.astype(object), strict=True)]
    return np.where(np.array(same, dtype=bool), 0.0, np.inf)


def _same(stored: Any, now: Any) -> bool:
    if isinstance(stored, str) or isinstance(now, str):
        return type(stored) is type(now) and stored == now
    if np.ndim(stored) or np.ndim(now):
        return bool(np.array_equal(np.asarray(stored), np.asarray(now)))
    return bool(stored == now) or bool(pd.isna(stored) and pd.isna(now))


def _about(records: pd.DataFrame, row: int) -> dict[str, int | str]:
    names = [name for name in records.columns if (name.endswith("_id") and name != "image_id") or name == "prompt"]
    return {name: _plain(records[name].iloc[row]) for name in names}


def _plain(value: Any) -> Any:
    """Return a value as JSON holds it."""
    return value.tolist() if isinstance(value, (np.generic, np.ndarray)) else value


def _short(value: Any) -> str:
    text = str(value)
    return f"{text[:40]}..." if len(text) > 43 else text
