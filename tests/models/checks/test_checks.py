"""Every mistake that is planted in a toy model is found, and named as what it is."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from models import zoo
from models.checks import cost
from models.checks.run import CHECKS, IMAGES, run_checks
from models.checks.verdict import Verdict
from models.errors import BenchError
from models.segmenter import Embedding, Segmentation
from tests.models.checks.toys import Boxes, Mute, Reading, Uncropped


@pytest.fixture(autouse=True)
def _small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cost, "SIZES", ((1, 1), (1, 97), (97, 1), (37, 53), (300, 400)))
    monkeypatch.setattr(cost, "MANY", 5)


def verdict(name: str, model: Any) -> Verdict:
    """Return one check's verdict; those after it are not made."""
    return next(one for check, one in run_checks(model) if check == name)


def mistake(name: str, model: Any) -> str:
    found = verdict(name, model)
    assert found.outcome == "wrong", found
    return found.said


def test_an_honest_model_passes_every_check() -> None:
    seen: list[int] = []
    found = dict(run_checks(Boxes(), seen.append))
    assert {name: one.said for name, one in found.items() if one.outcome != "ok"} == {}
    assert list(found) == [check.name for check in CHECKS]
    assert sum(seen) == IMAGES
    assert found["boxes"].values["as_asked"] == pytest.approx(1)
    assert found["time"].values["seconds_a_prompt"] > 0
    assert found["prompts"].said.endswith("not: background clicks")


@pytest.mark.parametrize("name", ["efficientsam-ti-micro", "mobilesam-micro"])
def test_trained_micro_models_pass_every_check(name: str) -> None:
    found = dict(run_checks(zoo.load(name)))
    assert {check: one.said for check, one in found.items() if one.outcome != "ok"} == {}
    assert found["boxes"].values["as_asked"] > 0.8


def test_untrained_weights_leave_places_undecided_and_nothing_wrong() -> None:
    found = dict(run_checks(zoo.untrained("efficientsam-ti-micro")))
    assert {name for name, one in found.items() if one.outcome == "undecided"} == {"boxes", "clicks"}
    assert {one.outcome for one in found.values()} == {"ok", "undecided"}
    assert "are the weights trained" in found["boxes"].said


def test_a_model_that_answers_nothing_leaves_places_undecided() -> None:
    assert verdict("boxes", Mute()).outcome == verdict("clicks", Mute()).outcome == "undecided"


@pytest.mark.parametrize(
    ("read", "named"),
    [
        (lambda p, size: p[..., ::-1], "x and y are swapped"),
        (lambda p, size: p * size, "read as normalised to 0..1"),
        (lambda p, size: p[..., ::-1] * size, "read as normalised to 0..1, and x and y are swapped"),
        (lambda p, size: p * size.max() / 1024, "px of the network's input, padded to a square of about 10"),
        (lambda p, size: p * size / 256, "px of the network's input, squashed to a square of about 256 px"),
        (lambda p, size: p - (size.max() - size) / 2, "the padding is not added to coordinates"),
        (lambda p, size: p * size.max() / size, "scaled as if it were squashed"),
        (lambda p, size: p * size / size[::-1], "width and height are swapped where coordinates are scaled"),
    ],
)
@pytest.mark.parametrize("check", ["boxes", "clicks"])
def test_a_wrong_reading_of_coordinates_is_named(read, named: str, check: str) -> None:
    assert named in mistake(check, Reading(read))


def test_masks_that_cover_the_padding_are_named() -> None:
    assert "the padding is not cropped off" in mistake("boxes", Uncropped())


def test_boxes_read_as_width_and_height_are_named_and_clicks_are_fine() -> None:
    model = Reading(lambda p, size: np.stack([p[:, 0], p.sum(1)], 1) if p.shape[1] == 2 else p)
    assert "x, y, width, height" in mistake("boxes", model)
    assert verdict("clicks", model).outcome == "ok"


def test_a_side_that_the_network_tells_is_tried_too() -> None:
    model = Reading(lambda p, size: p * size.max() / 777)
    assert verdict("boxes", model).outcome == "undecided"
    model.network = torch.nn.Module()
    model.network.image_size = 777
    assert "padded to a square of about 777 px" in mistake("boxes", model)


class SwappedSize(Boxes):
    def embed(self, images):
        return [Embedding(torch.zeros(1, 1, 1), image.shape[1::-1]) for image in images]


class OneEmbedding(Boxes):
    def embed(self, images):
        return super().embed(images)[0]


class Painter(Boxes):
    def embed(self, images):
        images[0][0] = 0
        return super().embed(images)


class NoIou(Boxes):
    def segment(self, embedding, prompts, *, multimask=True):
        logits, predicted = super().segment(embedding, prompts, multimask=multimask)
        return Segmentation(logits, predicted[..., None])


class AlwaysThree(Boxes):
    def segment(self, embedding, prompts, *, multimask=True):
        return super().segment(embedding, prompts)


class NotANumber(Boxes):
    def segment(self, embedding, prompts, *, multimask=True):
        logits, predicted = super().segment(embedding, prompts, multimask=multimask)
        return Segmentation(logits * float("nan"), predicted)


@pytest.mark.parametrize(
    ("model", "named"),
    [
        (SwappedSize(), "that is (width, height)"),
        (OneEmbedding(), "must be a list of two embeddings"),
        (Painter(), "changes the image"),
        (NoIou(), "returned predicted IoU torch.float32 [3, 3, 1]: it must be [3, 3]"),
        (AlwaysThree(), "multimask=False returned 3 masks a prompt"),
        (NotANumber(), "NaN or infinity"),
        (object(), "it has no name, no device, no embed, no segment, no masks"),
    ],
)
def test_a_broken_contract_is_named_and_nothing_else_is_guessed(model: Any, named: str) -> None:
    found = dict(run_checks(model))
    assert named in found.pop("contract").said
    assert {one.outcome for one in found.values()} == {"undecided"}
    assert all("mend what is wrong with 'contract' first" in one.said for one in found.values())


class Transposed(Boxes):
    def masks(self, logits, size):
        return (logits > 0).mT


class Floats(Boxes):
    def masks(self, logits, size):
        return logits


class Small(Boxes):
    def frame(self, size):
        return 64, 64


@pytest.mark.parametrize(
    ("model", "named"),
    [
        (Transposed(), "width and height are swapped"),
        (Floats(), "must be bool"),
        (Small(), "still at the network's resolution"),
    ],
)
def test_wrong_masks_are_named(model: Any, named: str) -> None:
    assert named in mistake("masks", model)


class Scored(Boxes):
    def __init__(self, change) -> None:
        self.change = change

    def segment(self, embedding, prompts, *, multimask=True):
        logits, predicted = super().segment(embedding, prompts, multimask=multimask)
        return Segmentation(logits, self.change(predicted))


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (lambda iou: 100 * iou, "is it in percent?"),
        (lambda iou: 10 * (iou - 0.7), "is a sigmoid missing?"),
        (lambda iou: 3 * iou, "is a sigmoid missing?"),
    ],
)
def test_a_predicted_iou_out_of_range_is_named(change, named: str) -> None:
    assert named in mistake("predicted IoU", Scored(change))


def test_a_predicted_iou_that_cannot_choose_is_mentioned() -> None:
    assert "tables take the first" in verdict("predicted IoU", Scored(torch.ones_like)).said


def test_a_refusal_of_the_wrong_kind_is_named() -> None:
    class Refusing(Boxes):
        def segment(self, embedding, prompts, *, multimask=True):
            if prompts.labels.shape[1] == 3:
                raise BenchError("one click at most")
            return super().segment(embedding, prompts, multimask=multimask)

    assert "several clicks end in BenchError, not in an UnsupportedPrompt" in mistake("prompts", Refusing())


class Noisy(Boxes):
    training = False

    def segment(self, embedding, prompts, *, multimask=True):
        logits, predicted = super().segment(embedding, prompts, multimask=multimask)
        return Segmentation(logits + 3 * torch.randn_like(logits), predicted)


class Dropout(Noisy):
    training = True


def test_chance_is_named_and_so_is_training_mode() -> None:
    assert "drawn at random" in mistake("determinism", Noisy())
    assert "in training mode, call eval()" in mistake("determinism", Dropout())


class Averaging(Boxes):
    """Lets prompts of a call see each other, as a batch norm in training mode does."""

    def segment(self, embedding, prompts, *, multimask=True):
        logits, predicted = super().segment(embedding, prompts, multimask=multimask)
        return (
            Segmentation(logits - logits.mean(0) / 10, predicted) if len(prompts) else Segmentation(logits, predicted)
        )


class FirstIsSpecial(Boxes):
    """Treats the first prompt of a call in another way."""

    def segment(self, embedding, prompts, *, multimask=True):
        logits, predicted = super().segment(embedding, prompts, multimask=multimask)
        return Segmentation(logits, predicted + (torch.arange(len(prompts)) > 0)[:, None] * 0.01)


def test_prompts_that_see_each_other_are_named() -> None:
    assert "does one prompt of a call see another?" in mistake("prompts together", Averaging())
    assert "predicted IoU by 0.010" in mistake("prompts together", FirstIsSpecial())


class LastImage(Boxes):
    """Answers about the image it saw last, as a predictor with one state does."""

    def embed(self, images):
        self.last = images[-1]
        return super().embed(images)

    def masks(self, logits, size):
        bright = torch.from_numpy(self.last.mean(-1) > 100)
        seen = torch.zeros(size, dtype=torch.bool)
        height, width = min(size[0], len(bright)), min(size[1], bright.shape[1])
        seen[:height, :width] = bright[:height, :width]
        return (logits > 0) & seen


class Beside(LastImage):
    """Mixes the images of one call."""

    def embed(self, images):
        embeddings = Boxes.embed(self, images)
        for embedding in embeddings:
            object.__setattr__(embedding, "features", torch.full((1, 1, 1), float(len(images))))
        return embeddings

    def segment(self, embedding, prompts, *, multimask=True):
        logits, predicted = Boxes.segment(self, embedding, prompts, multimask=multimask)
        return Segmentation(logits - 3 * (embedding.features.item() - 1), predicted)

    def masks(self, logits, size):
        return logits > 0


def test_images_that_see_each_other_are_named() -> None:
    assert "about the image seen last" in mistake("images apart", LastImage())
    assert "encoded beside another" in mistake("images apart", Beside())


class NoTinyImages(Boxes):
    def embed(self, images):
        if min(images[0].shape[:2]) < 2:
            raise ValueError("height and width must be > 1")
        return super().embed(images)


class Rounded(Boxes):
    def masks(self, logits, size):
        return logits[..., : size[0] // 2 * 2, : size[1] // 2 * 2] > 0


class Dividing(Boxes):
    def segment(self, embedding, prompts, *, multimask=True):
        logits, predicted = super().segment(embedding, prompts, multimask=multimask)
        return Segmentation(logits, predicted / (max(embedding.size) - 1) * (max(embedding.size) - 1))


@pytest.mark.parametrize(
    ("model", "named"),
    [
        (NoTinyImages(), "1 x 1 px is refused (ValueError: height and width must be > 1)"),
        (Rounded(), "1 x 1 px is answered with masks [0, 0]"),
        (Dividing(), "1 x 1 px is answered with NaN"),
    ],
)
def test_a_size_that_is_not_answered_is_named(model: Any, named: str) -> None:
    assert named in mistake("image sizes", model)


def test_whatever_a_model_raises_is_its_finding_and_the_other_checks_go_on() -> None:
    class Raising(Boxes):
        def segment(self, embedding, prompts, *, multimask=True):
            if len(prompts) > 8:
                raise RuntimeError("out of memory")
            return super().segment(embedding, prompts, multimask=multimask)

    found = dict(run_checks(Raising()))
    assert "RuntimeError: out of memory" in found["determinism"].said
    assert found["boxes"].outcome == found["image sizes"].outcome == "ok"


def test_memory_and_time_are_those_of_a_prompt(monkeypatch: pytest.MonkeyPatch) -> None:
    peaks = iter([0, 100 * 2**20, 140 * 2**20])
    monkeypatch.setattr(cost.speed, "peak", lambda device: next(peaks))
    assert cost.memory(Boxes()).values == {"mib_a_prompt": 10, "gib_in_all": 140 / 1024}
    now = iter([4.0, 1.0, 2.0, 32.0, 16.0, 64.0])
    monkeypatch.setattr(cost.speed, "once", lambda part, device: next(now))
    assert cost.time(Boxes()).values == {"seconds_an_image": 2.0, "seconds_a_prompt": 2.0}
