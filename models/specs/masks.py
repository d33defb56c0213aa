"""`masks:FILE`: somebody's predictions, a COCO results file with masks, scored without a model.

    masks:results.json            of COCO
    masks:results.json?data=lvis  of LVIS

Tables that score detections take its masks as they are; where prompts are asked, a file has no answers.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, NoReturn

from models import checkpoints
from models.cards import ModelCard
from models.errors import BenchError, UnsupportedPrompt

DATA_SETS = ("coco", "lvis")


class MasksFile:
    """A results file in the place of a model; what it holds is read by `protocols.masks_file`.

    Attributes:
        name: of its card.
        masks_file: where it is.
        data_set: which its images and categories are of.
        checkpoint_sha256: of the file.
        custom: False.
        identity: the data set.
        read: what was read of it, by the sha256 of the data that it fits.
    """

    custom = False

    def __init__(self, name: str, path: Path, data_set: str) -> None:
        self.name, self.masks_file, self.data_set = name, path, data_set
        self.checkpoint_sha256 = checkpoints.sha256_of(path)
        self.identity = {"data_set": data_set}
        self.read: dict[str, Any] = {}

    @property
    def device(self) -> Any:
        """Return the CPU: nothing is computed."""
        import torch  # takes seconds to import

        return torch.device("cpu")

    def embed(self, images: Any) -> NoReturn:
        """Raise UnsupportedPrompt: there is no model."""
        raise UnsupportedPrompt(f"'{self.name}' holds answers and no model: tables 2 and 5 score them")

    def segment(self, embedding: Any, prompts: Any, *, multimask: bool = True) -> NoReturn:
        """Raise UnsupportedPrompt: there is no model."""
        self.embed(())

    def masks(self, logits: Any, size: tuple[int, int]) -> NoReturn:
        """Raise UnsupportedPrompt: there is no model."""
        self.embed(())


def card(name: str) -> ModelCard:
    """Return the card of masks:FILE[?data=coco|lvis].

    Raises:
        BenchError: if the file is not there, or the data set unknown.
    """
    path, data_set = parse(name)
    return ModelCard(
        name=name,
        paper_row=None,
        scale="paper",
        build="models.specs.masks:build",
        filename=None,
        source=f"predictions in {path.name}",
        note=f"masks of a file, as predicted on {data_set.upper()}; no model was run",
        spec=name.partition(":")[2],
    )


def build(card: ModelCard, device: str) -> MasksFile:
    """Return the file of a card."""
    return MasksFile(card.name, *parse(card.name))


def parse(name: str) -> tuple[Path, str]:
    """Return the path and the data set of masks:FILE[?data=coco|lvis].

    Raises:
        BenchError: if the file is not there, or the data set unknown.
    """
    place, _, option = name.partition(":")[2].partition("?data=")
    data_set = option or DATA_SETS[0]
    path = Path(place).expanduser()
    if data_set not in DATA_SETS:
        raise BenchError(f"'{name}' is of the data set '{data_set}': write ?data=coco or ?data=lvis")
    if not path.is_file():
        raise BenchError(f"there is no file '{path}' of masks: check the path")
    return path, data_set
