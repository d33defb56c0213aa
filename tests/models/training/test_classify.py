"""The classify stage mixes, smooths and drops as timm does, and draws from nothing but the step's generator."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from timm.loss import LabelSmoothingCrossEntropy, SoftTargetCrossEntropy
from torch import Tensor, nn

from bench.data.training.classification import AugmentedBatches
from models.classifier.network import Classifier, evaluate_classifier
from models.errors import BenchError
from models.preprocessing import normalise
from models.sami.encoder import ViTEncoder
from models.training.augment import augmentation
from models.training.classify import classify_stage, layer_decay_groups
from models.training.loop import train
from models.training.recipes import ClassifyRecipe

CLASSES = 5
PLAIN = ClassifyRecipe(steps=6, images_per_step=4, learning_rate=1e-2, weight_decay=0.05)
MIXED = replace(PLAIN, mixup=0.8, cutmix=1.0)


class Spy(nn.Module):
    """A linear classifier of mean colours that remembers what it was shown and said."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.head = nn.Linear(3, CLASSES)

    def forward(self, pixels: Tensor) -> Tensor:
        self.seen = pixels
        self.said: Tensor = self.head(pixels.mean((2, 3)))
        return self.said


def seeded(step: int) -> torch.Generator:
    return torch.Generator().manual_seed(step)


def batch_of(count: int = 4, size: int = 16) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(1)
    images = rng.integers(0, 256, (count, 3, size, size), dtype=np.uint8)
    return {"images": images, "labels": rng.integers(0, CLASSES, count)}


def tiny(drop_path: float = 0.0, depth: int = 2) -> Classifier:
    torch.manual_seed(0)
    encoder = ViTEncoder(img_size=16, patch_size=8, embed_dim=16, depth=depth, num_heads=2)
    return Classifier(encoder, CLASSES, drop_path=drop_path)


def run(recipe: ClassifyRecipe, network: nn.Module, batch: Any = None, step: int = 0) -> dict[str, Tensor]:
    return classify_stage(recipe, CLASSES)(network, batch or batch_of(), seeded(step))


class TestWithoutMixing:
    def test_the_loss_is_timms_smoothed_cross_entropy(self) -> None:
        network, batch = Spy(), batch_of()
        found = run(replace(PLAIN, label_smoothing=0.1), network, batch)
        expected = LabelSmoothingCrossEntropy(0.1)(network.said, torch.from_numpy(batch["labels"]))
        torch.testing.assert_close(found["loss"], expected)

    def test_without_smoothing_it_is_torchs_cross_entropy(self) -> None:
        network, batch = Spy(), batch_of()
        found = run(replace(PLAIN, label_smoothing=0.0), network, batch)
        torch.testing.assert_close(found["loss"], F.cross_entropy(network.said, torch.from_numpy(batch["labels"])))

    def test_top1_is_the_share_of_right_answers(self) -> None:
        network, batch = Spy(), batch_of()
        run(PLAIN, network, batch)
        batch["labels"] = network.said.argmax(1).numpy()
        batch["labels"][0] = (batch["labels"][0] + 1) % CLASSES
        assert float(run(PLAIN, network, batch)["top1"]) == 0.75

    def test_uint8_images_are_normalised_and_float_images_are_not(self) -> None:
        network, batch = Spy(), batch_of()
        run(PLAIN, network, batch)
        expected = normalise(batch["images"], torch.device("cpu"))
        torch.testing.assert_close(network.seen, expected)
        run(PLAIN, network, {**batch, "images": expected.numpy()})
        torch.testing.assert_close(network.seen, expected)


class TestMixing:
    def test_mixup_blends_images_and_labels_by_the_same_share(self) -> None:
        network, batch = Spy(), batch_of()
        found = run(replace(PLAIN, mixup=0.8, label_smoothing=0.1), network, batch)
        clean = normalise(batch["images"], torch.device("cpu"))
        step = (network.seen - clean.flip(0)) / (clean - clean.flip(0))
        share = step.nanmedian()
        torch.testing.assert_close(network.seen, share * clean + (1 - share) * clean.flip(0), atol=1e-4, rtol=1e-4)
        hot = F.one_hot(torch.from_numpy(batch["labels"]), CLASSES) * 0.9 + 0.1 / CLASSES
        targets = share * hot + (1 - share) * hot.flip(0)
        torch.testing.assert_close(found["loss"], SoftTargetCrossEntropy()(network.said, targets), atol=1e-4, rtol=1e-4)
        assert 0 < float(share) < 1

    def test_cutmix_labels_by_the_area_that_was_pasted(self) -> None:
        network, batch = Spy(), batch_of()
        found = run(replace(PLAIN, cutmix=1.0, label_smoothing=0.0), network, batch)
        clean = normalise(batch["images"], torch.device("cpu"))
        pasted = (network.seen != clean).any(1).any(0)  # [S, S]
        torch.testing.assert_close(network.seen, torch.where(pasted, clean.flip(0), clean))
        share = 1 - pasted.float().mean()
        hot = F.one_hot(torch.from_numpy(batch["labels"]), CLASSES).float()
        targets = share * hot + (1 - share) * hot.flip(0)
        torch.testing.assert_close(found["loss"], SoftTargetCrossEntropy()(network.said, targets))
        assert 0 < float(share) < 1

    def test_mixed_batches_have_no_top1(self) -> None:
        assert set(run(MIXED, Spy())) == {"loss"}

    @pytest.mark.parametrize("as_float", [False, True])
    def test_the_batch_itself_is_not_written_into(self, as_float: bool) -> None:
        batch = batch_of()
        batch["images"] = batch["images"].astype(np.float32) if as_float else batch["images"]
        before = batch["images"].copy()
        run(MIXED, Spy(), batch)
        np.testing.assert_array_equal(batch["images"], before)

    def test_an_odd_number_of_images_is_an_error(self) -> None:
        with pytest.raises(BenchError, match="even number"):
            run(MIXED, Spy(), batch_of(3))


@pytest.mark.parametrize("make, recipe", [(Spy, MIXED), (lambda: tiny(0.5), replace(PLAIN, drop_path=0.5))])
class TestChance:
    def test_losses_follow_the_generator(self, make: Callable[[], nn.Module], recipe: ClassifyRecipe) -> None:
        network = make().train()
        nn.init.normal_(network.head.weight)  # type: ignore[arg-type, union-attr]
        losses = [float(run(recipe, network, step=step)["loss"].detach()) for step in (0, 0, 1, 2)]
        assert losses[0] == losses[1]
        assert len(set(losses)) == 3

    def test_global_generators_are_left_as_they_were(
        self, make: Callable[[], nn.Module], recipe: ClassifyRecipe
    ) -> None:
        network, numpys = make().train(), np.random.get_state()  # noqa: NPY002
        torchs = torch.get_rng_state()
        run(recipe, network)
        assert torch.equal(torch.get_rng_state(), torchs)
        np.testing.assert_array_equal(np.random.get_state()[1], numpys[1])  # type: ignore[index]  # noqa: NPY002


class TestLayerDecay:
    def test_rates_are_those_of_maes_finetuning(self) -> None:
        network = tiny(depth=3)
        groups = layer_decay_groups(network, replace(PLAIN, layer_decay=0.75))
        rates = {id(p): group["lr"] for group in groups for p in group["params"]}
        for name, parameter in network.named_parameters():
            layer = 0 if name.startswith(("cls_token", "pos_embed", "patch_embed")) else 4  # stem 0, head depth + 1
            layer = int(name.split(".")[1]) + 1 if name.startswith("blocks.") else layer
            assert rates[id(parameter)] == pytest.approx(1e-2 * 0.75 ** (4 - layer)), name

    @pytest.mark.parametrize("layer_decay", [None, 0.75])
    def test_every_parameter_is_in_one_group_and_only_matrices_decay(self, layer_decay: float | None) -> None:
        network = tiny()
        groups = layer_decay_groups(network, replace(PLAIN, layer_decay=layer_decay))
        decays = {id(p): group["weight_decay"] for group in groups for p in group["params"]}
        assert sum(len(group["params"]) for group in groups) == len(decays) == len(list(network.parameters()))
        for name, parameter in network.named_parameters():
            fixed = parameter.ndim < 2 or name in ("cls_token", "pos_embed")
            assert decays[id(parameter)] == (0.0 if fixed else 0.05), name

    def test_without_layer_decay_all_learn_at_the_same_rate(self) -> None:
        assert {group["lr"] for group in layer_decay_groups(tiny(), PLAIN)} == {1e-2}


class Colours:
    """Photos of one colour a class, with noise."""

    labels = np.arange(20) % CLASSES

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> np.ndarray:
        rng = np.random.default_rng(index)
        colour = np.random.default_rng((7, int(self.labels[index]))).integers(0, 256, 3)
        return (0.8 * colour + rng.integers(0, 50, (20, 20, 3))).astype(np.uint8)


def batches(recipe: ClassifyRecipe) -> AugmentedBatches:
    photos = Colours()
    count = recipe.images_per_step
    return AugmentedBatches(photos, photos.labels, augment=augmentation(recipe, 16), images_per_batch=count, seed=0)


class Stop(Exception):
    """The machine is switched off."""


def test_a_run_that_is_killed_ends_where_it_would_have_ended(tmp_path: Path) -> None:
    recipe = replace(MIXED, drop_path=0.3, random_erasing=0.5, rand_augment="rand-m9-mstd0.5-inc1", checkpoint_every=2)
    stage = classify_stage(recipe, CLASSES)
    whole = train(tiny(0.3), stage, batches(recipe), recipe, tmp_path / "whole")

    def fails_at_step_3(network: nn.Module, batch: Any, generator: torch.Generator) -> dict[str, Tensor]:
        calls.append(1)
        if len(calls) == 4:
            raise Stop
        return stage(network, batch, generator)

    calls: list[int] = []
    with pytest.raises(Stop):
        train(tiny(0.3), fails_at_step_3, batches(recipe), recipe, tmp_path / "killed")
    resumed = train(tiny(0.3), stage, batches(recipe), recipe, tmp_path / "killed")
    for (name, first), second in zip(whole.state_dict().items(), resumed.state_dict().values(), strict=True):
        assert torch.equal(first, second), name


def test_training_teaches_colours(tmp_path: Path) -> None:
    recipe = replace(PLAIN, steps=40, images_per_step=10, label_smoothing=0.0, crop_scale=(0.5, 1.0))
    network = train(tiny(), classify_stage(recipe, CLASSES), batches(recipe), recipe, tmp_path)
    answers = evaluate_classifier(network, Colours())
    assert (answers[:, 0] == Colours.labels).mean() > 0.8
