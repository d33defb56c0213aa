"""Faults that evaluations of segment-anything models are known for, planted one at a time in the code that runs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import hotcoco
import numpy as np
import pytest
import torch
from pycocotools import mask as rle
from safetensors.torch import load_file

import models.classifier.cards as classifiers
import models.efficientsam.segmenter as efficientsam
import models.frames as frames
import models.mask2former.cards as segmenters
import models.preprocessing as preprocessing
import models.vitdet.detector as vitdet
from bench.metrics import ap
from bench.metrics.ap_results import Results
from protocols import predictors, promptable, shards, table2, table4, table4_prompts, table5, table5_prompts
from protocols.prompts import truths

WEIGHTS = Path(efficientsam.__file__).parents[1] / "weights"
Patch = pytest.MonkeyPatch


@dataclass(frozen=True)
class Mutant:
    """A fault and where it shows."""

    name: str
    plant: Callable[[Patch], None]
    tables: tuple[str, ...]
    """Of the gate, cheapest first."""
    models: tuple[str, ...]
    """Cheap ones that it concerns."""
    records: bool = True
    """Whether it changes what models are asked or answer; others change what is made of that."""
    images: int | None = 2
    """So many of each data set show it in the quick tests; None for all."""
    probe: Callable[[Patch], None] | None = None
    """What has to be so for the fault to show, where trained weights do not have it: then what the clean code gives
    under it is what is expected."""


ALL: dict[str, Mutant] = {}


def mutant(name: str, *tables: str, models: str, **more: Any) -> Callable[[Callable[[Patch], None]], Any]:
    """Register a function that plants a fault; see `Mutant` for the rest."""

    def register(plant: Callable[[Patch], None]) -> Callable[[Patch], None]:
        ALL[name] = Mutant(name, plant, tables, tuple(models.split()), **more)
        return plant

    return register


TI, SAM = "efficientsam-ti-micro", "sam-micro"
TABLE4, TABLE4_ODD, TABLE5_ODD = "table4", "table4@odd-sizes", "table5@odd-sizes"


@mutant("masks upscaled by bilinear for bicubic interpolation", TABLE4, models=TI)
def bilinear(patch: Patch) -> None:
    own = efficientsam.axis
    patch.setattr(efficientsam, "axis", lambda length, steps, mode: own(length, steps, "bilinear"))


@mutant("images resized by nearest neighbours for bilinear interpolation", TABLE4_ODD, models=TI)
def nearest(patch: Patch) -> None:
    own = torch.nn.functional.interpolate

    def resize(pixels: Any, size: Any, mode: str, **options: Any) -> Any:
        return own(pixels, size, mode="nearest") if mode == "bilinear" else own(pixels, size, mode=mode, **options)

    patch.setattr(efficientsam.F, "interpolate", resize)


@mutant("boxes end at the last pixel, not behind it", TABLE4, models=TI)
def off_by_one(patch: Patch) -> None:
    own = truths.tight_box_xyxy
    patch.setattr(truths, "tight_box_xyxy", lambda mask: own(mask) - [0, 0, 1, 1])


@mutant("mean and standard deviation of pixels swapped", TABLE4, models=SAM)
def swapped(patch: Patch) -> None:
    mean, std = frames.PIXEL_MEAN, frames.PIXEL_STD
    patch.setattr(frames, "PIXEL_MEAN", std)
    patch.setattr(frames, "PIXEL_STD", mean)


@mutant("mean and standard deviation of pixels swapped, detector", "table2", models="vitdet-sami-ti-micro")
def swapped_of_detectors(patch: Patch) -> None:
    mean, std = preprocessing.PIXEL_MEAN, preprocessing.PIXEL_STD
    patch.setattr(preprocessing, "PIXEL_MEAN", std)
    patch.setattr(preprocessing, "PIXEL_STD", mean)


@mutant("BGR for RGB", TABLE4, models=SAM)
def bgr(patch: Patch) -> None:
    own = shards.read_rgb
    patch.setattr(shards, "read_rgb", lambda *given, **more: np.ascontiguousarray(own(*given, **more)[..., ::-1]))


@mutant("the least confident mask for the most confident", TABLE4, models=SAM)
def argmin(patch: Patch) -> None:
    _of_three(patch, lambda self, logits, iou, prompts, truths: iou.argmin(dim=1))


@mutant("mask 0 for the most confident", TABLE4, models=TI)
def first_mask(patch: Patch) -> None:
    def pick(self: Any, logits: Any, iou: Any, prompts: Any, truths: Any) -> Any:
        return torch.zeros(len(iou), dtype=torch.int64)

    _of_three(patch, pick)


def _of_three(patch: Patch, pick: Any) -> None:
    """Have all three candidates made, and one picked otherwise."""
    patch.setattr(predictors.ModelPredictor, "_multimask", lambda self, prompts: True)
    patch.setattr(predictors.ModelPredictor, "_pick", pick)


@mutant("the single-mask token for the most confident of three", TABLE4, models=SAM)
def single(patch: Patch) -> None:
    _with_axes(patch, mask_pick="single")


@mutant("images padded that should be squashed", TABLE4_ODD, models=TI)
def padded(patch: Patch) -> None:
    def pad(self: Any, image: np.ndarray) -> Any:
        return frames.Padded(self.network.image_size).pixels(image, self.device)

    patch.setattr(efficientsam.EfficientSamSegmenter, "preprocess", pad)


@mutant("images squashed that should be padded", TABLE4_ODD, models=SAM)
def squashed(patch: Patch) -> None:
    mean, std = (tuple(x / 255 for x in values) for values in (frames.PIXEL_MEAN, frames.PIXEL_STD))

    def squash(self: Any, image: np.ndarray, device: Any) -> Any:
        return frames.Squashed(self.side, mean, std).pixels(image, device)

    patch.setattr(frames.Padded, "pixels", squash)


@mutant("boxes as x, y, width, height where corners are wanted", TABLE4, models=TI)
def xywh(patch: Patch) -> None:
    own = truths.tight_box_xyxy

    def box(mask: np.ndarray) -> np.ndarray:
        x0, y0, x1, y1 = own(mask)
        return np.array([x0, y0, x1 - x0, y1 - y0])

    patch.setattr(truths, "tight_box_xyxy", box)


@mutant("clicks shifted by half a pixel", TABLE4, models=TI)
def shifted(patch: Patch) -> None:
    own = table4_prompts.random_clicks
    patch.setattr(table4_prompts, "random_clicks", lambda mask, count, **which: own(mask, count, **which) + 0.5)


@mutant("x and y of clicks swapped", TABLE4, models=TI)
def transposed(patch: Patch) -> None:
    own = table4_prompts.random_clicks
    patch.setattr(
        table4_prompts, "random_clicks", lambda mask, count, **which: own(mask, count, **which)[:, ::-1].copy()
    )


@mutant("a stale weight: one block of the encoder as it was before finetuning", TABLE4, models=TI)
def stale(patch: Patch) -> None:
    own = promptable.load

    def load(name: str, *given: Any, **more: Any) -> Any:
        model = own(name, *given, **more)
        if name == TI:
            before = load_file(WEIGHTS / "sami-ti-micro.safetensors")
            block = {key: value for key, value in before.items() if key.startswith("blocks.3.")}
            model.network.image_encoder.load_state_dict(block, strict=False)
        return model

    patch.setattr(promptable, "load", load)


@mutant("refinement left on", TABLE4, models=SAM)
def refined(patch: Patch) -> None:
    _with_axes(patch, refinement=1)


def zero_logits(patch: Patch) -> None:
    """Let every logit be exactly 0, which those of trained weights never are."""
    own = promptable.load

    def load(*given: Any, **more: Any) -> Any:
        model = own(*given, **more)
        segment = model.segment

        def answer(*asked: Any, **how: Any) -> Any:
            found = segment(*asked, **how)
            return found._replace(logits=found.logits * 0)

        model.segment = answer
        return model

    patch.setattr(promptable, "load", load)


@mutant("EfficientSAM's masks without logits of 0", TABLE4_ODD, models=TI, probe=zero_logits)
def no_ties(patch: Patch) -> None:
    own = efficientsam.upscaled_masks
    patch.setattr(efficientsam, "upscaled_masks", lambda *given, ties: own(*given, ties=False))


@mutant("SAM's masks with logits of 0", TABLE4_ODD, models=SAM, probe=zero_logits)
def with_ties(patch: Patch) -> None:
    own = frames.upscaled_masks
    patch.setattr(frames, "upscaled_masks", lambda *given, ties: own(*given, ties=True))


@mutant("masks above 1 for above 0", TABLE4, models=SAM)
def threshold(patch: Patch) -> None:
    own = frames.upscaled_masks
    patch.setattr(frames, "upscaled_masks", lambda logits, *axes, **more: own(logits - 1, *axes, **more))


@mutant("IoUs written beside the next object of the image", TABLE4, models=TI)
def misplaced(patch: Patch) -> None:
    own = table4_prompts.ious

    def ious(masks: np.ndarray, asked: Any, axes: Any) -> np.ndarray:
        values = own(masks, asked, axes)
        counted = np.array([not annotation.iscrowd for annotation in asked.annotations])
        values[counted] = np.roll(values[counted], 1)
        return values

    patch.setattr(table4_prompts, "ious", ious)


@mutant("crowds counted", TABLE4, models="floor", records=False, images=24)
def crowds(patch: Patch) -> None:
    own = table4.counted
    patch.setattr(table4, "counted", lambda records, axes: own(records, replace(axes, crowd="keep")))


@mutant("mean over categories for the mean over masks", TABLE4, models="floor", records=False, images=24)
def averaged(patch: Patch) -> None:
    own = table4._weighted
    patch.setattr(table4, "_weighted", lambda records, axes: own(records, replace(axes, averaging="category")))


@mutant("S, M and L told apart by the area of the box", "table5", models="detector", records=False, images=None)
def by_box(patch: Patch) -> None:
    own = ap.clean_results

    def clean(*given: Any, **more: Any) -> Results:
        found = own(*given, **more)
        boxes = ({**one, "bbox": rle.toBbox(_runs(one["segmentation"])).tolist()} for one in found.detections)
        return replace(found, detections=[{**one, "area": one["bbox"][2] * one["bbox"][3]} for one in boxes])

    patch.setattr(ap, "clean_results", clean)


@mutant("LVIS without its federated lists", "table5", models="detector", records=False, images=None)
def unfederated(patch: Patch) -> None:
    own = ap.open_truth

    def open_truth(*given: Any, **more: Any) -> Any:
        truth = own(*given, **more)
        content = truth.dataset.dataset
        for image in content["images"]:
            for key in ("neg_category_ids", "not_exhaustive_category_ids"):
                if key in image:
                    image[key] = []
        return replace(truth, dataset=hotcoco.COCO(content))

    patch.setattr(ap, "open_truth", open_truth)


@mutant(
    "the best 100 detections of an image, not of each category", TABLE5_ODD, models="floor", records=False, images=None
)
def best_of_image(patch: Patch) -> None:
    patch.setattr(table5_prompts, "most_detections", lambda data_set, axes: 100)


@mutant("detections without their scores", "table5", models="detector", records=False, images=None)
def unscored(patch: Patch) -> None:
    own = table5.to_results
    patch.setattr(table5, "to_results", lambda records, axes: own(records.assign(detector_score=1.0), axes))


@mutant("categories of detections off by one", "table2", models="vitdet-sami-ti-micro")
def off_by_one_category(patch: Patch) -> None:
    own = table2._records

    def records(found: Any, info: Any, category_ids: Any) -> Any:
        return own(found, info, [*category_ids[1:], category_ids[0]])

    patch.setattr(table2, "_records", records)


@mutant("masks of detections shifted by half a pixel", "table2", models="vitdet-sami-ti-micro")
def pasted(patch: Patch) -> None:
    own = vitdet.paste
    patch.setattr(vitdet, "paste", lambda masks, boxes, size: own(masks, boxes + 0.5, size))


@mutant("whole photos for their centre crops", "table1", models="sami-ti-micro-classify", images=64)
def uncropped(patch: Patch) -> None:
    own = classifiers.predict
    patch.setattr(
        classifiers, "predict", lambda network, images, **more: own(network, images, **{**more, "crop_share": 1.0})
    )


@mutant("pixels without a label counted as errors", "table3", models="mask2former-sami-ti-micro")
def unlabelled(patch: Patch) -> None:
    own = segmenters.areas

    def areas(predicted: np.ndarray, truth: np.ndarray, classes: int) -> Any:
        return own(predicted, np.where(truth == 255, (predicted + 1) % classes, truth), classes)

    patch.setattr(segmenters, "areas", areas)


def _with_axes(patch: Patch, **changed: Any) -> None:
    own = predictors.predictor_of

    def predictor_of(model: Any, axes: Any) -> Any:
        return own(model, replace(axes, **changed))

    for module in (table4_prompts, table5_prompts):
        patch.setattr(module, "predictor_of", predictor_of)


def _runs(segmentation: Mapping[str, Any]) -> dict[str, Any]:
    counts = segmentation["counts"]
    return {"size": segmentation["size"], "counts": counts.encode() if isinstance(counts, str) else counts}
