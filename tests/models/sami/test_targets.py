"""Teachers: what the student is asked to reconstruct, and SAM's encoder at the student's input size."""

from __future__ import annotations

from functools import partial

import pytest
import torch
from segment_anything.modeling import ImageEncoderViT
from timm.models.vision_transformer import VisionTransformer
from torch import nn

from models.errors import BenchError
from models.sam.image_encoder import ImageEncoder
from models.sami.targets import at_size, clip_target, pixel_target, sam_target, token_target
from tests.models.recipe import fill

SIZES = {"embed_dim": 24, "depth": 3, "num_heads": 2, "window_size": 3}
GLOBAL = (1,)


def sam_encoder(img_size: int = 128, out_chans: int = 8) -> ImageEncoder:
    """A tiny SAM encoder: windows of 3 patches, one global block."""
    encoder = ImageEncoder(img_size=img_size, out_chans=out_chans, global_attn_indexes=GLOBAL, **SIZES)  # type: ignore[arg-type]
    return fill(encoder)  # type: ignore[return-value]


def official(img_size: int, encoder: ImageEncoder) -> nn.Module:
    """segment-anything's own encoder at another size, which interpolates relative positions as it runs."""
    reference = ImageEncoderViT(
        img_size=img_size,
        out_chans=8,
        norm_layer=partial(nn.LayerNorm, eps=1e-6),
        qkv_bias=True,
        use_rel_pos=True,
        global_attn_indexes=GLOBAL,
        **SIZES,
    ).eval()
    state = encoder.state_dict()
    tables = state["pos_embed"].permute(0, 3, 1, 2)
    grid = img_size // 16
    state["pos_embed"] = nn.functional.interpolate(tables, (grid, grid), mode="bicubic").permute(0, 2, 3, 1)
    for name, parameter in reference.named_parameters():
        parameter.data = state[name]
    return reference


class TestSamAtAnotherSize:
    @pytest.mark.parametrize("size", [64, 96, 160, 224])
    def test_it_computes_what_segment_anything_computes_there(self, size: int) -> None:
        encoder = sam_encoder()
        pixels = torch.randn(2, 3, size, size)
        with torch.no_grad():
            torch.testing.assert_close(
                at_size(encoder, size)(pixels), official(size, encoder)(pixels), atol=1e-4, rtol=1e-4
            )

    def test_at_its_own_size_it_is_the_encoder_itself(self) -> None:
        encoder = sam_encoder()
        assert at_size(encoder, 128) is encoder

    def test_a_size_that_is_no_multiple_of_the_patch_is_refused(self) -> None:
        with pytest.raises(BenchError, match="no multiple of the patch"):
            at_size(sam_encoder(), 100)


class TestSamTarget:
    def test_there_is_a_feature_for_each_patch_in_reading_order(self) -> None:
        encoder = sam_encoder()
        target = sam_target(encoder, size=128)
        pixels = torch.randn(2, 3, 128, 128)
        with torch.no_grad():
            maps = encoder(pixels)
        features = target(pixels)
        assert features.shape == (2, 64, target.width) == (2, 64, 8)
        assert torch.equal(features[:, 8 * 3 + 5], maps[:, :, 3, 5])

    def test_before_the_neck_features_have_the_width_of_the_encoder(self) -> None:
        target = sam_target(sam_encoder(), size=64, layer="pre-neck")
        assert target(torch.randn(1, 3, 64, 64)).shape == (1, 16, target.width) == (1, 16, 24)

    def test_enlarged_and_pooled_features_are_means_of_the_full_size_ones(self) -> None:
        encoder = sam_encoder()
        target = sam_target(encoder, size=64, input="1024-pooled")
        pixels = torch.randn(1, 3, 64, 64)
        large = nn.functional.interpolate(pixels, (128, 128), mode="bicubic", antialias=True)
        with torch.no_grad():
            maps = encoder(large)  # [1, 8, 8, 8]
        means = maps.unflatten(2, (4, 2)).unflatten(4, (4, 2)).mean((3, 5))  # [1, 8, 4, 4]
        torch.testing.assert_close(target(pixels), means.flatten(2).mT, atol=1e-5, rtol=1e-5)

    def test_no_gradient_reaches_the_teacher(self) -> None:
        encoder = sam_encoder()
        features = sam_target(encoder, size=128)(torch.randn(1, 3, 128, 128, requires_grad=True))
        assert not features.requires_grad
        assert not any(parameter.requires_grad for parameter in encoder.parameters())


class TestTokenTarget:
    def test_pixels_are_given_in_the_teachers_own_statistics(self) -> None:
        vit = VisionTransformer(img_size=32, embed_dim=12, depth=1, num_heads=2, num_classes=0).eval()
        vit.pretrained_cfg = {"mean": (0.5, 0.4, 0.3), "std": (0.2, 0.3, 0.1)}
        raw = torch.rand(2, 3, 32, 32)
        mean, std = (torch.tensor(v)[:, None, None] for v in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)))
        own_mean, own_std = (torch.tensor(v)[:, None, None] for v in ((0.5, 0.4, 0.3), (0.2, 0.3, 0.1)))
        features = token_target(vit, "a ViT")((raw - mean) / std)
        with torch.no_grad():
            expected = vit.forward_features((raw - own_mean) / own_std)[:, 1:]
        assert features.shape == (2, 4, 12)
        torch.testing.assert_close(features, expected, atol=1e-5, rtol=1e-5)

    def test_clip_comes_from_a_local_file_through_timm(self, tmp_path: object) -> None:
        import timm

        path = f"{tmp_path}/clip.pth"
        made = timm.create_model("vit_base_patch32_clip_224.openai", pretrained=False, num_classes=0)
        torch.save(made.state_dict(), path)
        target = clip_target("vit_base_patch32_clip_224.openai", checkpoint=path)
        assert target.width == 768


def test_variances_of_patches_are_those_of_float32_under_mixed_precision() -> None:
    pixels, target = torch.randn(2, 3, 64, 64) * 0.01 + 1, pixel_target(norm=True)
    plain = target(pixels)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        mixed = target(pixels)
    assert mixed.dtype == torch.float32
    assert torch.equal(mixed, plain)
    torch.testing.assert_close(mixed.var(-1), torch.ones(2, 16), atol=0.02, rtol=0)
