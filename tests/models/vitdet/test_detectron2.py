"""ViTDet on detectron2's own parts: the same detections, its files, its training. Runs where detectron2 is."""

from __future__ import annotations

import os
import pickle
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

pytest.importorskip("detectron2", reason="detectron2 installs from source only")
pytest.importorskip("detectron2._C", reason="detectron2 is not compiled")

from detectron2.checkpoint import DetectionCheckpointer
from detectron2.config import LazyConfig, instantiate
from detectron2.data.transforms import ResizeShortestEdge
from detectron2.engine import SimpleTrainer, hooks
from detectron2.modeling.roi_heads import CascadeROIHeads
from detectron2.structures import BitMasks, Boxes, Instances

from bench.cli.detect import boxes
from bench.data import open_detections, read_rgb
from models.cards import ModelCard
from models.errors import BenchError
from models.sami.build import MICRO_SIZES
from models.training.optimizers import optimizers_of, rate_at
from models.training.recipes import DETECT_PAPER
from models.vitdet import build, detector
from models.vitdet import cascades as box_detectors
from models.vitdet.build import vitdet, vitdet_micro
from models.vitdet.convert import from_detectron2, to_detectron2
from models.vitdet.d2 import detector as theirs
from models.vitdet.d2 import recipe as recipes
from models.vitdet.d2.model import model_config
from models.vitdet.network import VitDet
from tests.bench.data.training.test_detection import lay_out
from tests.models.recipe import fill, image

BOX_PX = 2e-3
"""Float32 sums in another order move a box of hundreds of px by some 1e-4."""
SCORE = 1e-5
"""Likewise a score, of 0..1."""
MASK_PIXELS = 1e-5
"""Share of pixels whose probability is 0.5 but for rounding."""
CARD = ModelCard("vitdet-test", "row", "paper", "", None)
CONFIGS = Path(build.__file__).parent / "d2" / "configs"


@pytest.fixture
def meta(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Build networks without memory; detectron2 reads stochastic depth off a tensor, which must be a real one."""
    linspace = torch.linspace
    monkeypatch.setattr(torch, "linspace", lambda *given, **named: linspace(*given, device="cpu", **named))
    with torch.device("meta"):
        yield


def shapes(network: torch.nn.Module | dict[str, torch.Tensor]) -> dict[str, tuple[int, ...]]:
    state = network if isinstance(network, dict) else network.state_dict()
    return {name: tuple(value.shape) for name, value in state.items()}


NETWORKS = {
    "ti": lambda: vitdet("ti", img_size=128, score_threshold=0.01, proposals_after_nms=(100, 60)),
    "micro": lambda: vitdet_micro(MICRO_SIZES["ti"], classes=5),
    "no relative positions": lambda: VitDet(
        build.Backbone(
            img_size=96, embed_dim=32, depth=6, num_heads=2, window_size=4, relative_positions=False
        ),  # no multiple of 64 px
        classes=2,
        channels=16,
        box_features=24,
        box_convolutions=1,
        mask_convolutions=3,
        anchor_sides=(8, 16, 32, 64, 128),
        canonical_px=20,  # small objects too are pooled from all levels
        score_threshold=0.01,
    ),
}


def partners(one: detector.Found, other: detector.Found) -> np.ndarray:
    """Return the other engine's detection for each of one's: scores that are equal but for rounding change places."""
    assert len(one.scores) == len(other.scores)
    apart = np.abs(one.boxes_xyxy[:, None] - other.boxes_xyxy).max(-1)  # [P, P]
    apart[one.labels[:, None] != other.labels] = np.inf
    found = apart.argmin(1)
    assert sorted(found) == list(range(len(found)))
    return found


class TestSameAnswers:
    @pytest.mark.parametrize("kind", NETWORKS)
    @pytest.mark.parametrize("size", [(90, 160), (200, 131), (64, 64)])
    def test_boxes_scores_labels_and_masks(self, kind: str, size: tuple[int, int]) -> None:
        ours = fill(NETWORKS[kind]())
        network = instantiate(model_config(ours)).eval()
        network.load_state_dict(to_detectron2(ours.state_dict()))
        photo = image(*size, seed=3)
        (one,), (other,) = detector.detect(ours, [photo]), theirs.detect(network, [photo])
        assert len(one.scores) > 10
        partner = partners(one, other)
        assert one.labels.tolist() == other.labels[partner].tolist()
        np.testing.assert_allclose(one.boxes_xyxy, other.boxes_xyxy[partner], atol=BOX_PX, rtol=0)
        np.testing.assert_allclose(one.scores, other.scores[partner], atol=SCORE, rtol=0)
        assert one.masks.shape == other.masks.shape == (len(one.scores), *size)
        assert one.masks.any()
        assert (one.masks != other.masks[partner]).mean() <= MASK_PIXELS

    def test_photos_are_resized_to_the_same_sizes(self) -> None:
        for side in (96, 256, 1024):
            for height in range(60, 1500, 3):
                for width in range(60, 1500, 4):
                    theirs = ResizeShortestEdge.get_output_shape(height, width, side, side)
                    assert detector.input_size(height, width, side) == theirs

    def test_weights_come_back_bit_for_bit(self) -> None:
        network = fill(instantiate(model_config(NETWORKS["micro"]())))
        state = network.state_dict()
        back = to_detectron2(from_detectron2(state))
        assert back.keys() == state.keys()
        assert all(torch.equal(back[name], state[name]) for name in state)


class TestTraining:
    @pytest.mark.parametrize("size", ["ti", "s", "b"])
    def test_each_size_has_a_file_that_lazyconfig_reads(self, size: str, meta: None) -> None:
        config = LazyConfig.load(str(CONFIGS / f"vitdet_{size}.py"))
        assert set(config) == {"model", "dataloader", "optimizer", "lr_multiplier", "train"}
        assert shapes(instantiate(config.model)) == shapes(to_detectron2(vitdet(size).state_dict()))
        assert config.model.backbone.net.drop_path_rate == 0.1
        assert config.model.backbone.net.window_block_indexes == [0, 1, 3, 4, 6, 7, 9, 10]

    def test_numbers_are_those_of_section_4_1(self) -> None:
        config = recipes.training("ti")
        assert config.train.max_iter == 100 * (118_287 // 64)
        assert config.train.amp.enabled
        assert config.dataloader.train.total_batch_size == 64
        jitter = config.dataloader.train.mapper.augmentations[1]
        assert (jitter.min_scale, jitter.max_scale, jitter.target_height, jitter.target_width) == (0.1, 2.0, 1024, 1024)
        assert config.dataloader.train.mapper.image_format == "RGB"
        assert (config.optimizer.lr, config.optimizer.weight_decay) == (2e-4, 0.1)
        assert tuple(config.optimizer.betas) == (0.9, 0.999)

    def test_parameters_are_optimised_as_in_our_own_training(self, meta: None) -> None:
        config = recipes.training("ti", replace(DETECT_PAPER, image_size=64))
        config.optimizer.params.model = network = instantiate(config.model)
        ours = vitdet("ti", img_size=64)
        (adam,) = optimizers_of(ours, DETECT_PAPER)
        names = {id(one): name for name, one in ours.named_parameters() if name.startswith("backbone.")}
        wanted = {
            names[id(one)].replace("backbone.", "backbone.net.", 1): (group["weight_decay"], group["lr"])
            for group in adam.param_groups
            for one in group["params"]
            if id(one) in names
        }
        theirs = {id(one): name for name, one in network.named_parameters()}
        found = {
            theirs[id(one)]: (group["weight_decay"], group["lr"])
            for group in instantiate(config.optimizer).param_groups
            for one in group["params"]
        }
        assert {name: found[name] for name in wanted} == {
            name: (decay, pytest.approx(rate)) for name, (decay, rate) in wanted.items()
        }

    def test_learning_rates_are_those_of_our_own_training(self) -> None:
        schedule = instantiate(recipes.training("ti").lr_multiplier)
        warm, steps = DETECT_PAPER.warmup_steps, DETECT_PAPER.steps
        for step in (0, warm // 3, warm - 1, warm, steps // 2, steps - 1):
            assert schedule(step / steps) == pytest.approx(rate_at(step, DETECT_PAPER), abs=1.5 / warm)

    def test_photos_for_evaluation_are_resized_as_ours(self) -> None:
        (resize,) = recipes.training("s").dataloader.test.mapper.augmentations
        assert (resize.short_edge_length, resize.max_size) == (1024, 1024)

    @pytest.mark.slow
    def test_real_steps_of_its_trainer_lower_the_loss(self) -> None:
        recipe = replace(DETECT_PAPER, steps=12, warmup_steps=2, image_size=64, learning_rate=1e-3)
        config = recipes.training("ti", recipe)
        config.model.roi_heads.batch_size_per_image = 8  # no weights
        config.model.proposal_generator.post_nms_topk = (30, 30)
        torch.manual_seed(0)
        model = instantiate(config.model)
        config.optimizer.params.model = model
        trainer = Recorded(model, [[sample()]] * 12, instantiate(config.optimizer))
        trainer.register_hooks([hooks.LRScheduler(scheduler=instantiate(config.lr_multiplier))])
        before = model.backbone.net.blocks[0].attn.rel_pos_h.clone()
        trainer.train(0, 12)
        assert len(trainer.losses) == 12
        assert np.mean(trainer.losses[-3:]) < 0.8 * np.mean(trainer.losses[:3])
        assert not torch.equal(before, model.backbone.net.blocks[0].attn.rel_pos_h)


class Recorded(SimpleTrainer):
    """detectron2's trainer, keeping its losses."""

    def __init__(self, *given: Any) -> None:
        super().__init__(*given)
        self.losses: list[float] = []

    def _write_metrics(self, losses: Any, *given: Any, **named: Any) -> None:
        self.losses.append(sum(float(one.detach()) for one in losses.values()))


def sample() -> dict[str, Any]:
    """A photo with a square in it, as detectron2's mapper makes them."""
    pixels = torch.from_numpy(image(64, 64, seed=1).transpose(2, 0, 1).copy())
    masks = torch.zeros(1, 64, 64, dtype=torch.bool)
    masks[:, 8:40, 16:56] = True
    found = Instances((64, 64))
    found.gt_boxes = Boxes(torch.tensor([[16.0, 8.0, 56.0, 40.0]]))
    found.gt_classes = torch.tensor([7])
    found.gt_masks = BitMasks(masks)
    return {"image": pixels, "height": 64, "width": 64, "instances": found}


class TestFiles:
    @pytest.fixture(scope="class")
    def network(self) -> VitDet:
        return fill(NETWORKS["no relative positions"]())

    def load(self, network: VitDet, path: Path, **changes: Any) -> torch.nn.Module:
        return theirs.load_network(model_config(network, **changes), path, CARD)

    def test_ours_and_both_kinds_of_theirs_are_the_same_network(self, network: VitDet, tmp_path: Path) -> None:
        wanted = to_detectron2(network.state_dict())
        save_file(network.state_dict(), tmp_path / "ours.safetensors")
        arrays = {name: value.numpy() for name, value in wanted.items()}
        arrays |= {"pixel_mean": np.zeros((3, 1, 1)), "proposal_generator.anchor_generator.cell_anchors.0": np.ones(3)}
        (tmp_path / "theirs.pkl").write_bytes(pickle.dumps({"model": arrays, "__author__": "somebody"}))
        made = self.load(network, tmp_path / "ours.safetensors")
        optimizer = torch.optim.AdamW(made.parameters())
        DetectionCheckpointer(made, str(tmp_path), optimizer=optimizer).save("theirs", iteration=3)
        for name in ("ours.safetensors", "theirs.pkl", "theirs.pth"):
            state = self.load(network, tmp_path / name).state_dict()
            assert state.keys() == wanted.keys()
            assert all(torch.equal(state[entry], wanted[entry]) for entry in wanted)

    def test_another_model_s_file_is_refused(self, network: VitDet, tmp_path: Path) -> None:
        save_file(network.state_dict(), tmp_path / "ours.safetensors")
        with pytest.raises(BenchError, match=r"does not fit 'vitdet-test' .*missing: roi_heads\.box_head\.0\.conv1"):
            self.load(network, tmp_path / "ours.safetensors", cascade=True)
        with pytest.raises(BenchError, match="the weights of 'vitdet-test' are not at"):
            self.load(network, tmp_path / "none.pkl")

    def test_nan_is_said_and_not_left_out(self, network: VitDet, tmp_path: Path) -> None:
        state = {name: value.clone() for name, value in network.state_dict().items()}
        save_file(state, tmp_path / "good.safetensors")
        state["backbone.blocks.0.norm1.bias"][0] = float("nan")
        save_file(state, tmp_path / "bad.safetensors")
        with pytest.raises(BenchError, match=r"NaN or infinite values in backbone\.net\.blocks\.0\.norm1\.bias"):
            self.load(network, tmp_path / "bad.safetensors")
        for entry in ("backbone.net.blocks.0.norm1.bias", "roi_heads.box_predictor.cls_score.bias"):
            made = self.load(network, tmp_path / "good.safetensors")
            made.get_parameter(entry).data[0] = float("nan")
            with pytest.raises(BenchError, match="logits are NaN or infinite"):
                theirs.detect(made, [image(60, 80)])


class TestCascade:
    """The published cascades in a small width: files of the same layout through the same cards and commands."""

    @pytest.fixture(autouse=True)
    def small(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setitem(build.SIZES, "h", {"embed_dim": 32, "depth": 4, "num_heads": 2})
        less = {"img_size": 96, "channels": 16, "box_features": 24, "proposals_after_nms": (60, 60)}

        def made(size: str, **limits: Any) -> VitDet:
            return vitdet(size, **{**limits, "classes": 2}, **less)

        monkeypatch.setattr(box_detectors, "vitdet", made)

    def published(self, data: box_detectors.DataSet, folder: Path) -> Path:
        card = box_detectors.card("vitdet-h", data)
        network = instantiate(model_config(box_detectors.network_of(card), cascade=True, sigmoid=data == "lvis"))
        assert isinstance(network.roi_heads, CascadeROIHeads)
        arrays = {name: value.numpy() for name, value in fill(network).state_dict().items()}
        if data == "lvis":
            arrays |= {f"roi_heads.box_predictor.{k}.fed_loss_cls_weights": np.ones(2) for k in range(3)}
        path = folder / card.filename
        path.write_bytes(pickle.dumps({"model": arrays, "__author__": "somebody", "matching_heuristics": True}))
        return path

    @pytest.mark.parametrize("data", ["coco", "lvis"])
    def test_a_published_file_is_loaded_and_asked(self, data: box_detectors.DataSet, tmp_path: Path) -> None:
        model = box_detectors.load("vitdet-h", data, self.published(data, tmp_path))
        assert model.name.startswith("vitdet-h (detectron2 ")
        assert (model.custom, model.classes) == (True, 2)
        (found,) = model.detect([image(60, 80)])
        assert found.masks.shape == (len(found.scores), 60, 80)
        assert len(found.scores) > 5
        assert set(found.labels) <= {1, 2}
        for predictor in model._network.roi_heads.box_predictor:
            assert predictor.use_sigmoid_ce == (data == "lvis")
            expected = (0.05, 100) if data == "coco" else (0.02, 300)
            assert (predictor.test_score_thresh, predictor.test_topk_per_image) == expected
            assert predictor.test_nms_thresh == 0.5

    def test_bench_boxes_writes_the_file_of_table_5(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        root = lay_out(tmp_path / "data", split="val2017")
        monkeypatch.chdir(tmp_path)
        monkeypatch.setenv("BENCH_DATA", str(root))
        checkpoint = self.published("coco", tmp_path)
        boxes("vitdet-h", checkpoint=checkpoint)
        path = root / "coco" / "detections" / "coco_vitdet.json"
        read = open_detections(path)
        model = box_detectors.load("vitdet-h", "coco", checkpoint)
        (found,) = model.detect([read_rgb(root / "coco/val2017/2.png")])
        batch = read.for_image(2)
        assert len(found.scores) > 5
        np.testing.assert_allclose(batch.boxes_xyxy, found.boxes_xyxy, atol=1e-9)
        assert batch.scores.tolist() == found.scores.tolist()
        assert batch.category_id.tolist() == [[7, 90][label - 1] for label in found.labels]
        assert f"{len(read):,} detections in 4 of 4 images" in capsys.readouterr().out


@pytest.mark.skipif("DETECTRON2_SOURCE" not in os.environ, reason="set DETECTRON2_SOURCE to a checkout of detectron2")
@pytest.mark.parametrize("card", box_detectors.CASCADES, ids=lambda card: f"{card.name}-{card.data}")
def test_cascades_have_the_entries_of_the_official_configs(card: box_detectors.CascadeCard, meta: None) -> None:
    folder = Path(os.environ["DETECTRON2_SOURCE"]) / "projects" / "ViTDet" / "configs" / card.data.upper()
    (file,) = folder.glob(f"cascade_mask_rcnn_vitdet_{card.size}_*ep.py")
    official = LazyConfig.load(str(file)).model
    for predictor in official.roi_heads.box_predictors if card.data == "lvis" else ():
        predictor.use_fed_loss = False  # its frequencies come with LVIS's annotations
    own = model_config(box_detectors.network_of(card), cascade=True, sigmoid=card.data == "lvis")
    assert shapes(instantiate(own)) == shapes(instantiate(official))
