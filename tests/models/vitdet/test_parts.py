"""The pieces of ViTDet one by one: where blocks attend, what is loaded, how boxes and masks are cut and pasted."""

from __future__ import annotations

import doctest
import pickle
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file
from timm.layers.pos_embed import resample_abs_pos_embed
from timm.models.beit import Beit
from torchvision.models.detection.image_list import ImageList

from bench.training.runs import RUNS
from models.cards import ModelCard
from models.errors import BenchError
from models.sami.build import MICRO_SIZES
from models.sami.encoder import ViTEncoder
from models.vitdet import backbone as module
from models.vitdet import cards as detectors
from models.vitdet import detector
from models.vitdet.backbone import Backbone, start_from_encoder
from models.vitdet.build import MICRO_CLASSES, SIZES, vitdet, vitdet_micro
from models.vitdet.checkpoint import read_detector
from models.vitdet.convert import to_detectron2
from models.vitdet.detector import detect
from models.vitdet.pooling import mask_targets, paste
from models.vitdet.pyramid import STRIDES

TINY = {"embed_dim": 32, "depth": 4, "num_heads": 2}


def tiny(**changes) -> Backbone:
    torch.manual_seed(0)
    return Backbone(**{"img_size": 224, "window_size": 14, **TINY, **changes})


class TestAnchors:
    @pytest.mark.parametrize("side", [96, 128, 224])
    def test_they_stand_at_the_strides_of_the_pyramid_whatever_the_image(self, side: int) -> None:
        """detectron2's rule; torchvision's own divides sides, so that 2 cells of 64 px over 96 px would stand at 48."""
        network = vitdet("ti", img_size=side)
        with torch.inference_mode():
            maps = list(network.features(torch.zeros(1, 3, side, side)).values())
        (anchors,) = network.rpn.anchor_generator(ImageList(torch.zeros(1, 3, side, side), [(side, side)]), maps)
        counts = [3 * one.shape[2] * one.shape[3] for one in maps]
        for stride, level, one in zip(STRIDES, anchors.split(counts), maps, strict=True):
            centres = (level[:, :2] + level[:, 2:]) / 2
            assert centres.max().item() == pytest.approx(stride * (one.shape[2] - 1), abs=1e-3)


class TestBackbone:
    def test_examples(self) -> None:
        assert doctest.testmod(module).failed == 0

    @pytest.mark.parametrize("size", SIZES)
    def test_windows_but_for_four_evenly_spaced_blocks(self, size: str) -> None:
        with torch.device("meta"):
            blocks = vitdet(size).backbone.blocks
        assert [block.attn.side for block in blocks] == ([14] * (len(blocks) // 4 - 1) + [64]) * 4

    def test_at_the_size_of_pretraining_it_is_the_pretrained_encoder(self) -> None:
        """One window holds the whole image then, and relative positions are zero; only class token and norm differ."""
        torch.manual_seed(1)
        encoder = ViTEncoder(**TINY)
        ours = tiny()
        start_from_encoder(ours, encoder.state_dict(), "it")
        pixels = torch.randn(1, 3, 224, 224)
        with torch.inference_mode():
            tokens = encoder.patch_embed(pixels) + encoder.pos_embed[:, 1:]
            for block in encoder.blocks:
                tokens = block(tokens)
            found = ours(pixels).flatten(2).transpose(1, 2)
        np.testing.assert_allclose(found.numpy(), tokens.numpy(), atol=2e-5)

    @pytest.mark.parametrize("scaled", [0.1, None])
    def test_beit_without_its_relative_positions_is_a_plain_vit(self, scaled: float | None) -> None:
        torch.manual_seed(1)
        beit = Beit(use_abs_pos_emb=False, init_values=scaled, num_classes=0, **TINY)
        for block in beit.blocks:
            for bias in (block.attn.q_bias, block.attn.v_bias):
                torch.nn.init.normal_(bias)
        ours = tiny()
        start_from_encoder(ours, beit.state_dict(), "it")
        pixels = torch.randn(1, 3, 224, 224)
        with torch.inference_mode():
            tokens = beit.patch_embed(pixels)
            for block in beit.blocks:
                tokens = block(tokens)
            found = ours(pixels).flatten(2).transpose(1, 2)
        np.testing.assert_allclose(found.numpy(), tokens.numpy(), atol=2e-5)

    def test_beit_s_relative_positions_stay_behind(self) -> None:
        beit = Beit(use_abs_pos_emb=False, use_rel_pos_bias=True, num_classes=0, **TINY)
        ours = tiny()
        start_from_encoder(ours, beit.state_dict(), "it")
        assert not ours.pos_embed.any()
        assert not any(value.any() for name, value in ours.state_dict().items() if "rel_pos" in name)

    def test_relative_positions_can_be_left_out_and_start_at_zero(self) -> None:
        pixels = torch.randn(1, 3, 256, 256)
        plain, biased = tiny(img_size=256, relative_positions=False), tiny(img_size=256)
        assert not [name for name in plain.state_dict() if "rel_pos" in name]
        tables = [value for name, value in biased.state_dict().items() if "rel_pos" in name]
        assert len(tables) == 8
        assert not any(value.any() for value in tables)
        biased.load_state_dict(plain.state_dict(), strict=False)
        with torch.inference_mode():
            np.testing.assert_allclose(plain(pixels).numpy(), biased(pixels).numpy(), atol=1e-5)

    def test_positions_on_a_finer_grid_are_timm_s(self) -> None:
        ours = tiny(img_size=448)
        theirs = resample_abs_pos_embed(ours.pos_embed.detach(), [28, 28], antialias=False)
        np.testing.assert_allclose(ours.positions().detach().flatten(1, 2), theirs[:, 1:], atol=1e-6)

    @pytest.mark.parametrize(
        ("change", "sentence"),
        [
            ({"embed_dim": 48}, r"'pos_embed' is \[1, 197, 48\] instead of \[1, 197, 32\]"),
            ({"depth": 3}, "'blocks.3.norm1.weight' is missing"),
            ({"depth": 5}, "more than the 4 blocks"),
            ({"img_size": 192}, r"'pos_embed' is \[1, 145, 32\]"),
        ],
    )
    def test_an_encoder_of_another_size_is_refused_and_nothing_is_loaded(self, change, sentence: str) -> None:
        ours = tiny()
        before = {name: value.clone() for name, value in ours.state_dict().items()}
        with pytest.raises(BenchError, match=sentence):
            start_from_encoder(ours, ViTEncoder(**{**TINY, **change}).state_dict(), "it")
        assert all(torch.equal(before[name], value) for name, value in ours.state_dict().items())

    @pytest.mark.parametrize("size", MICRO_SIZES)
    def test_micro_detectors_take_the_micro_encoders(self, size: str) -> None:
        network = RUNS[f"vitdet-sami-{size}-micro"].build()
        start_from_encoder(network.backbone, ViTEncoder(**MICRO_SIZES[size]).state_dict(), "it")
        assert network.classes == MICRO_CLASSES


class TestGeometry:
    @pytest.mark.parametrize("radius", [13.2, 28.0, 40.7])
    def test_what_is_cut_out_of_a_mask_and_pasted_again_is_the_mask(self, radius: float) -> None:
        """A disc at ten places between two pixels: a mask of 28 cells may be off by part of a cell, their mean not."""
        y, x = torch.meshgrid(torch.arange(128) + 0.5, torch.arange(128) + 0.5, indexing="ij")
        shifts = []
        for centre in np.arange(60, 61, 0.1).tolist():
            mask = (x - centre) ** 2 + (y - centre) ** 2 < radius**2
            box = torch.tensor([[centre - radius, centre - radius, centre + radius, centre + radius]])
            cut = mask_targets(mask[None], torch.zeros(1, dtype=torch.int64), box, 28)
            pasted = paste(cut, box, (128, 128))[0]
            truth = mask.numpy()
            assert (pasted & truth).sum() / (pasted | truth).sum() > 0.94
            shifts.append(
                [found.mean() - true.mean() for found, true in zip(pasted.nonzero(), truth.nonzero(), strict=True)]
            )
        assert np.abs(np.mean(shifts, axis=0)).max() < 0.05  # px; half a pixel without `aligned`

    def test_examples(self) -> None:
        assert doctest.testmod(detector).failed == 0

    def test_a_full_mask_fills_its_box_and_nothing_else(self) -> None:
        boxes = torch.tensor([[2.0, 3.0, 10.0, 7.0], [-5.0, -5.0, 4.0, 4.0], [30.0, 30.0, 40.0, 40.0]])
        pasted = paste(torch.ones(3, 28, 28), boxes, (20, 25))
        assert pasted[0].sum() == 8 * 4
        assert pasted[0, 3:7, 2:10].all()
        assert pasted[1].sum() == 16
        assert not pasted[2].any()


@pytest.fixture(scope="module")
def micro():
    torch.manual_seed(0)
    return vitdet_micro(MICRO_SIZES["ti"], classes=3).eval()


class TestTraining:
    def targets(self, count: int) -> list[dict[str, torch.Tensor]]:
        masks = torch.zeros(count, 256, 256, dtype=torch.bool)
        masks[:, 40:120, 60:200] = True
        boxes = torch.tensor([[60.0, 40.0, 200.0, 120.0]]).expand(count, -1)
        return [{"boxes": boxes, "labels": torch.ones(count, dtype=torch.int64), "masks": masks}]

    @pytest.mark.parametrize("objects", [0, 1])
    def test_every_weight_gets_a_gradient_with_and_without_objects(self, objects: int) -> None:
        """What jitter leaves of a photo may hold no object; distributed training needs all gradients then too."""
        torch.manual_seed(0)
        network = vitdet_micro(MICRO_SIZES["ti"], classes=3).train()
        losses = network(torch.randn(1, 3, 256, 256), self.targets(objects))
        assert set(losses) == {"rpn_class", "rpn_box", "class", "box", "mask"}
        torch.stack(list(losses.values())).sum().backward()
        assert all(torch.isfinite(p.grad).all() for p in network.parameters())

    def test_boxes_keep_their_precision_in_mixed_precision(self) -> None:
        torch.manual_seed(0)
        network = vitdet_micro(MICRO_SIZES["ti"], classes=3).train()
        proposed: list[torch.Tensor] = []
        network.rpn.register_forward_hook(lambda module, given, said: proposed.extend(said[0]))
        with torch.autocast("cpu", torch.bfloat16):
            losses = network(torch.randn(1, 3, 256, 256), self.targets(1))
        assert all(torch.isfinite(one) and one.dtype == torch.float32 for one in losses.values())
        assert proposed[0].dtype == torch.float32
        assert not torch.equal(proposed[0], proposed[0].bfloat16().float())


class TestDetect:
    def test_answers_are_in_the_photo_s_pixels_whatever_its_size(self, micro) -> None:
        photo = np.random.default_rng(0).integers(0, 256, (90, 160, 3), dtype=np.uint8)
        micro.roi_heads.score_thresh = 0.0
        (found,) = detect(micro, [photo])
        assert found.masks.shape == (len(found.scores), 90, 160)
        assert len(found.scores) == len(found.labels) == len(found.boxes_xyxy) > 0
        assert (found.boxes_xyxy >= 0).all()
        assert (found.boxes_xyxy <= [160 + 1e-4, 90 + 1e-4] * 2).all()
        assert set(found.labels) <= {1, 2, 3}
        assert (np.diff(found.scores) <= 0).all()

    def test_a_diverged_network_is_said(self, micro) -> None:
        state = {name: value.clone() for name, value in micro.state_dict().items()}
        micro.roi_heads.score_thresh = -1.0
        broken = micro.roi_heads.box_predictor.cls_score.bias
        with torch.no_grad():
            broken.fill_(float("nan"))
        photo = np.asarray(Image.new("RGB", (64, 64)))
        try:
            with pytest.raises(BenchError, match="NaN or infinite"):
                detect(micro, [photo])
        finally:
            micro.load_state_dict(state)


class TestCheckpoints:
    CARD = ModelCard("vitdet-test", "row", "paper", "", None)

    def theirs(self, network) -> dict[str, np.ndarray]:
        return {name: value.numpy() for name, value in to_detectron2(network.state_dict()).items()}

    @pytest.fixture(scope="class")
    def network(self):
        torch.manual_seed(0)
        with torch.device("meta"):
            made = vitdet("ti", img_size=256, channels=16, box_features=8, classes=2)
        return made.to_empty(device="cpu").requires_grad_(False).apply(_zeroed)

    def test_detectron2_s_pickle_of_arrays_is_read_without_running_code(self, network, tmp_path: Path) -> None:
        path = tmp_path / "model_final.pkl"
        content = {"model": self.theirs(network), "__author__": "somebody", "matching_heuristics": True}
        path.write_bytes(pickle.dumps(content))
        state = read_detector(path, self.CARD)
        assert state.keys() == network.state_dict().keys()

    def test_a_pickle_that_names_a_function_is_refused(self, tmp_path: Path) -> None:
        path = tmp_path / "evil.pkl"
        path.write_bytes(pickle.dumps({"model": SimpleNamespace(a=1)}))
        with pytest.raises(BenchError, match=r"asks to run code as it is read .*types\.SimpleNamespace"):
            read_detector(path, self.CARD)
        path.write_bytes(pickle.dumps([1, 2]))
        with pytest.raises(BenchError, match="holds no names and arrays"):
            read_detector(path, self.CARD)
        path.write_bytes(b"")
        with pytest.raises(BenchError, match="it is empty"):
            read_detector(path, self.CARD)

    def test_a_cascade_cannot_be_converted(self, network, tmp_path: Path) -> None:
        path = tmp_path / "cascade.pkl"
        state = self.theirs(network)
        state["roi_heads.box_head.0.conv1.weight"] = state.pop("roi_heads.box_head.conv1.weight")
        path.write_bytes(pickle.dumps({"model": state}))
        with pytest.raises(BenchError, match="cascades and other heads cannot be converted"):
            read_detector(path, self.CARD)


def _zeroed(layer: torch.nn.Module) -> None:
    for parameter in layer.parameters(recurse=False):
        torch.nn.init.zeros_(parameter)


class TestRegistry:
    def test_every_row_of_table_2_has_a_card_and_unreleased_ones_say_so(self) -> None:
        rows = [one.paper_row for one in detectors.CARDS if one.scale == "paper"]
        assert rows == ["MAE-Ti", "SAMI-Ti", "MAE-S", "DeiT-S", "DINO-S", "iBOT-S", "SAMI-S", "MAE-B", "SAMI-B"]
        public = [one.name for one in detectors.CARDS if one.scale == "paper" and one.filename]
        assert public == ["vitdet-mae-b"]
        with pytest.raises(BenchError, match="there are no weights of 'vitdet-sami-b'"):
            detectors.load("vitdet-sami-b")

    def test_own_weights_are_loaded_and_asked(self, tmp_path: Path) -> None:
        name = "vitdet-mae-ti-micro"
        torch.manual_seed(0)
        path = tmp_path / "own.safetensors"
        save_file(RUNS[name].build().half().state_dict(), path)
        model = detectors.load(name, path)
        assert (model.name, model.custom, model.classes) == (name, True, MICRO_CLASSES)
        (found,) = model.detect([np.zeros((60, 80, 3), np.uint8)])
        assert found.masks.shape[1:] == (60, 80)

    def test_unknown_names_and_missing_files_are_said(self, tmp_path: Path) -> None:
        with pytest.raises(BenchError, match="vitdet-mae-b"):
            detectors.card("vitdet-mae-c")
        with pytest.raises(BenchError, match="there is no checkpoint"):
            detectors.load("vitdet-mae-b", tmp_path / "none.pkl")
