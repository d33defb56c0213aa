"""The stages teach what they say, on the micro networks, and what they taught can be loaded again."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from copy import deepcopy
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from bench.data.dead_leaves import draw_scene
from bench.data.dead_leaves.training import TRAINING_SEED, MaskBatch
from bench.training import data
from bench.training import train as command
from bench.training.options import Options
from bench.training.runs import RUNS
from models import micro, zoo
from models.errors import BenchError
from models.frames import PIXEL_MEAN, PIXEL_STD
from models.preprocessing import normalise
from models.training.distill import EncoderTrainer, distill_stage
from models.training.promptable import PromptableTrainer, promptable_stage
from models.training.recipes import PROMPTABLE_MICRO, DistillRecipe, PromptableRecipe

RECIPE = replace(PROMPTABLE_MICRO, masks_per_prompt=1)
TI = "efficientsam-ti-micro"


@pytest.fixture(scope="module")
def batch() -> MaskBatch:
    """One training scene and three of its objects."""
    scene = draw_scene(TRAINING_SEED, 0)
    masks = np.stack([scene.mask(number) for number in scene.objects()[:3]])
    return {"images": scene.image.transpose(2, 0, 1)[None].copy(), "masks": masks[None]}


def seeded(build: Callable[[], nn.Module]) -> Any:
    torch.manual_seed(0)
    return build()


def ask(network: nn.Module, batch: MaskBatch, recipe: PromptableRecipe = RECIPE, step: int = 0) -> dict[str, Tensor]:
    return promptable_stage(recipe)(PromptableTrainer(network), batch, torch.Generator().manual_seed(step))


def has_gradient(module: nn.Module) -> bool:
    return any(p.grad is not None and bool(p.grad.any()) for p in module.parameters())


def taught(network: Any) -> list[bool]:
    """Return which of the four mask tokens' kernels got a gradient."""
    return [has_gradient(mlp) for mlp in network.mask_decoder.output_hypernetworks_mlps]


class TestPromptable:
    def test_images_are_normalised_as_sam_does(self, batch: MaskBatch) -> None:
        pixels = normalise(batch["images"], torch.device("cpu"))
        expected = (batch["images"][0, :, 9, 7] - np.array(PIXEL_MEAN)) / np.array(PIXEL_STD)
        assert pixels[0, :, 9, 7].numpy() == pytest.approx(expected, rel=1e-5)

    @pytest.mark.parametrize("build", [micro.efficientsam_ti_micro, micro.sam_micro])
    def test_losses_and_gradients_are_finite_and_the_loss_falls(
        self, build: Callable[[], nn.Module], batch: MaskBatch
    ) -> None:
        network = seeded(build)
        optimizer = torch.optim.AdamW(network.parameters(), lr=1e-3)
        losses = []
        for _ in range(15):
            terms = ask(network, batch)
            optimizer.zero_grad()
            terms["loss"].backward()
            assert all(torch.isfinite(p.grad).all() for p in network.parameters() if p.grad is not None)
            optimizer.step()
            losses.append(terms["loss"].item())
        assert np.isfinite(losses).all()
        assert losses[-1] < 0.8 * losses[0]
        assert has_gradient(network.image_encoder)
        assert has_gradient(network.prompt_encoder)

    def test_the_loss_is_that_of_masks_and_of_predicted_ious(self, batch: MaskBatch) -> None:
        terms = ask(seeded(micro.efficientsam_ti_micro), batch, replace(RECIPE, iou_weight=3.0))
        assert terms["loss"].item() == pytest.approx((terms["mask"] + 3 * terms["iou"]).item())
        by_kind = [terms[name].item() for name in ("iou_1box", "iou_1click", "iou_3click")]
        assert terms["best_iou"].item() == pytest.approx(np.mean(by_kind))

    def test_the_same_step_asks_the_same_and_another_something_else(self, batch: MaskBatch) -> None:
        network = seeded(micro.efficientsam_ti_micro)
        losses = [ask(network, batch, step=step)["loss"].item() for step in (1, 1, 2)]
        assert losses[0] == losses[1] != losses[2]

    @pytest.mark.parametrize(
        "share, kind, single",
        [(0.0, ("box", 1), False), (1.0, ("box", 1), True), (1.0, ("click", 3), True), (1.0, ("click", 1), False)],
    )
    def test_the_single_mask_token_learns_when_it_is_asked_and_from_one_click_never(
        self, batch: MaskBatch, share: float, kind: Any, single: bool
    ) -> None:
        network = seeded(micro.sam_micro)
        one = MaskBatch(images=batch["images"], masks=batch["masks"][:, :1])
        ask(network, one, replace(RECIPE, single_mask_share=share, prompts=(kind,)))["loss"].backward()
        first, *candidates = taught(network)
        assert (first, any(candidates)) == (single, not single)

    def test_the_share_of_single_mask_steps_is_kept(self, batch: MaskBatch) -> None:
        asked = []

        class Listener(nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.nothing = nn.Parameter(torch.zeros(()))

            def forward(self, pixels: Tensor, questions: Any) -> list[tuple[Tensor, Tensor]]:
                asked.append([question.multimask for question in questions])
                return [(torch.zeros(1, 1, 3, 4, 4), torch.zeros(1, 1, 3)) for _ in questions]

        stage = promptable_stage(replace(RECIPE, single_mask_share=0.25))
        for step in range(200):
            stage(Listener(), batch, torch.Generator().manual_seed(step))
        assert np.mean([answer == [False, True, False] for answer in asked]) == pytest.approx(0.25, abs=0.08)
        assert all(answer in ([True] * 3, [False, True, False]) for answer in asked)


class TestDistill:
    def test_a_student_that_is_its_teacher_loses_nothing(self, batch: MaskBatch) -> None:
        teacher = seeded(micro.sam_micro)
        student = EncoderTrainer(deepcopy(teacher.image_encoder))
        losses = distill_stage(teacher)(student, batch, torch.Generator())
        assert losses["loss"].item() < 1e-10  # attention with and without gradients rounds differently

    def test_the_student_learns_and_the_teacher_does_not(self, batch: MaskBatch) -> None:
        teacher, student = seeded(micro.sam_micro), EncoderTrainer(seeded(micro.mobilesam_micro).image_encoder)
        before = {name: value.clone() for name, value in teacher.state_dict().items()}
        stage, losses = distill_stage(teacher), []
        optimizer = torch.optim.AdamW(student.parameters(), lr=1e-3)
        for _ in range(6):
            loss = stage(student, batch, torch.Generator())["loss"]
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
        assert losses[-1] < losses[0]
        assert all(p.grad is None and not p.requires_grad for p in teacher.parameters())
        assert all(torch.equal(value, before[name]) for name, value in teacher.state_dict().items())

    def test_the_loss_is_the_mean_squared_error_of_the_embeddings(self, batch: MaskBatch) -> None:
        teacher, student = seeded(micro.sam_micro), seeded(micro.mobilesam_micro)
        loss = distill_stage(teacher)(EncoderTrainer(student.image_encoder), batch, torch.Generator())["loss"]
        pixels = normalise(batch["images"], torch.device("cpu"))
        with torch.no_grad():
            expected = ((student.encode(pixels) - teacher.encode(pixels)) ** 2).mean()
        assert loss.item() == pytest.approx(expected.item(), rel=1e-5)


class TestExport:
    def test_weights_are_in_half_precision_and_hashed(self, tmp_path: Path) -> None:
        network = seeded(micro.efficientsam_ti_micro)
        path = tmp_path / "weights" / f"{TI}.safetensors"
        command.export(network, path, {"model": TI, "seed": 0})
        content, record = path.read_bytes(), json.loads(path.with_suffix(".json").read_text())
        assert (record["model"], record["seed"]) == (TI, 0)
        assert (record["bytes"], record["sha256"]) == (len(content), hashlib.sha256(content).hexdigest())
        state = load_file(path)
        for name, value in network.state_dict().items():
            assert state[name].dtype == (torch.float16 if value.is_floating_point() else value.dtype)
            assert torch.equal(state[name], value.to(state[name].dtype))

    def test_exported_weights_can_be_loaded(self, tmp_path: Path) -> None:
        network = seeded(micro.efficientsam_ti_micro)
        command.export(network, tmp_path / "mine.safetensors", {})
        segmenter: Any = zoo.load(TI, checkpoint=tmp_path / "mine.safetensors")
        assert segmenter.custom
        for name, value in segmenter.network.state_dict().items():
            expected = network.state_dict()[name]
            assert value.dtype == expected.dtype
            assert torch.equal(value, expected.half().to(expected.dtype))


class Repeated:
    """The same batch at every step."""

    def __init__(self, batch: MaskBatch, masks: int) -> None:
        self.batch = MaskBatch(images=batch["images"], masks=batch["masks"][:, :masks])

    def __getitem__(self, step: int) -> MaskBatch:
        return self.batch


class TestCommand:
    @pytest.fixture(autouse=True)
    def _small(self, batch: MaskBatch, monkeypatch: pytest.MonkeyPatch) -> None:
        """Two steps a model, on one scene, in the precision torch had."""
        for name, run in RUNS.items():
            few: dict[str, Any] = {"steps": 2, "images_per_step": 1}
            if isinstance(run.recipe, PromptableRecipe):
                few["masks_per_prompt"] = 1
            monkeypatch.setitem(RUNS, name, replace(run, recipe=replace(run.recipe, **few)))
        monkeypatch.setattr(data, "training_scenes", lambda count: SimpleNamespace(first=lambda count: None))
        monkeypatch.setattr(data, "MaskBatches", lambda scenes, masks, **rest: Repeated(batch, masks))

    def test_a_student_takes_over_its_teachers_decoder(self, tmp_path: Path) -> None:
        command.train("sam-micro", Options(out=tmp_path / "out", weights=tmp_path))
        command.train("mobilesam-micro", Options(out=tmp_path / "out", weights=tmp_path))
        teacher, student = (load_file(tmp_path / f"{name}-micro.safetensors") for name in ("sam", "mobilesam"))
        taken = [name for name in teacher if not name.startswith("image_encoder.")]
        assert taken
        assert all(torch.equal(student[name], teacher[name]) for name in taken)
        assert isinstance(RUNS["mobilesam-micro"].recipe, DistillRecipe)
        zoo.load("mobilesam-micro", checkpoint=tmp_path / "mobilesam-micro.safetensors")

    def test_a_student_without_its_teacher_says_how_to_get_one(self, tmp_path: Path) -> None:
        with pytest.raises(BenchError, match=r"no weights of sam-micro at .*bench train sam-micro"):
            command.train("mobilesam-micro", Options(out=tmp_path, weights=tmp_path))

    def test_weights_come_with_the_record_of_how_they_were_made(self, tmp_path: Path) -> None:
        command.train("sam-micro", Options(out=tmp_path / "out", weights=tmp_path))
        record = json.loads((tmp_path / "sam-micro.json").read_text())
        assert record["command"] == "python -m bench train sam-micro"
        assert (record["recipe"]["steps"], record["last_log_line"]["step"]) == (2, 1)
        assert record["data"]["seed"] == TRAINING_SEED
        assert record["made_with"]["versions"]["torch"]

    def test_a_finished_run_keeps_its_record(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        """Starting a run again, as every resumed `train --all micro` does, must not say that it took no time."""
        command.train("sam-micro", Options(out=tmp_path / "out", weights=tmp_path))
        record = tmp_path / "sam-micro.json"
        before, own = record.read_bytes(), tmp_path / "out" / "sam-micro" / "weights.json"
        assert json.loads(before) == json.loads(own.read_text())
        command.train("sam-micro", Options(out=tmp_path / "out", weights=tmp_path))
        assert record.read_bytes() == before
        assert "trained before" in capsys.readouterr().err

    def test_weights_can_be_written_again_without_training(self, tmp_path: Path) -> None:
        command.train("sam-micro", Options(out=tmp_path / "out", weights=tmp_path / "first"))
        command.train("sam-micro", Options(out=tmp_path / "out", weights=tmp_path / "again", export_only=True))
        first, again = ((tmp_path / w / "sam-micro.safetensors").read_bytes() for w in ("first", "again"))
        assert first == again

    def test_a_model_whose_pretraining_is_not_there_says_which(self, tmp_path: Path) -> None:
        with pytest.raises(BenchError, match=r"no weights of sami-ti-micro at .*bench train sami-ti-micro"):
            command.train(TI, Options(out=tmp_path, weights=tmp_path))

    def test_a_model_that_cannot_be_trained_is_named(self, tmp_path: Path) -> None:
        with pytest.raises(BenchError, match="sam-micr"):
            command.train("sam-mikro", Options(out=tmp_path, weights=tmp_path))
