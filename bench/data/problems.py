"""What a reader skipped or mended in a file: counted and kept with examples, never silent."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

N_EXAMPLES = 5


@dataclass(frozen=True, slots=True)
class Problem:
    """One kind of defect and how often it occurs."""

    kind: str
    """E.g. 'empty mask'."""
    count: int
    examples: tuple[int, ...]
    """The first few ids, of annotations, images or detections, whichever the kind is about."""

    def __str__(self) -> str:
        """Return one line for people, e.g. `2 x empty mask (ids 17, 40)`."""
        more = ", ..." if self.count > len(self.examples) else ""
        return f"{self.count:,} x {self.kind} (ids {', '.join(map(str, self.examples))}{more})"


class Tally:
    """Problems counted so far, in the order in which their kinds first came up."""

    def __init__(self) -> None:
        self._counts: dict[str, int] = {}
        self._examples: dict[str, list[int]] = {}

    def add(self, kind: str, ids: Iterable[int]) -> None:
        """Count one problem per id; an id may come up more than once."""
        for identifier in ids:
            self._counts[kind] = self._counts.get(kind, 0) + 1
            examples = self._examples.setdefault(kind, [])
            if len(examples) < N_EXAMPLES and int(identifier) not in examples:
                examples.append(int(identifier))

    def problems(self) -> tuple[Problem, ...]:
        """Return what was counted."""
        return tuple(Problem(kind, count, tuple(self._examples[kind])) for kind, count in self._counts.items())
