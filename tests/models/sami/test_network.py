"""The masked autoencoder against the published MAE and against what section 3.2 says of SAMI."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from timm.data.constants import IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD
from torch import Tensor

from models.efficientsam import efficientsam
from models.errors import BenchError
from models.sami.build import SIZES
from models.sami.encoder import ViTEncoder, to_efficientsam
from models.sami.network import MaskedAutoencoder, Masking, mask_patches, reconstruction_loss
from models.sami.targets import pixel_target
from tests.models.recipe import fill, image, value

GOLDEN = Path(__file__).parents[1] / "golden"
TINY: dict[str, Any] = {"img_size": 64, "embed_dim": 24, "depth": 2, "num_heads": 2}
TINY_DECODER: dict[str, Any] = {"decoder_dim": 32, "decoder_depth": 2, "decoder_heads": 2}


def autoencoder(decoder: str = "masked", target_dim: int = 5) -> MaskedAutoencoder:
    torch.manual_seed(0)
    network = MaskedAutoencoder(ViTEncoder(**TINY), target_dim=target_dim, decoder=decoder, **TINY_DECODER)  # type: ignore[arg-type]
    return network.eval()


def some_masking(batch: int = 2, ratio: float = 0.75, seed: int = 0) -> Masking:
    return mask_patches(torch.rand(batch, 16, generator=torch.Generator().manual_seed(seed)), ratio)


def pixels_of(patches: Tensor) -> Tensor:
    """Return a mask [B, 1, 64, 64] of the pixels of patches [B, L] in a 4 x 4 grid."""
    mask = torch.zeros(len(patches), 16).scatter(1, patches, 1).view(-1, 1, 4, 4)
    return mask.repeat_interleave(16, 2).repeat_interleave(16, 3)


class TestMaeParity:
    @pytest.mark.parametrize(
        ("size", "norm"),
        [("tiny", False), ("tiny", True), pytest.param("small", False, marks=pytest.mark.slow)],
    )
    def test_mae_is_the_published_mae(self, size: str, norm: bool) -> None:
        """Loss to 1e-5, predictions, mask, and the gradient norm of every parameter to 1e-4 relative."""
        golden = np.load(GOLDEN / f"mae_{size}{'_normpix' if norm else ''}.npz")
        network = self.recipe_network("ti" if size == "tiny" else "s")
        pixels = torch.from_numpy(self.images(int(golden["image_seed"])))
        masking = mask_patches(torch.from_numpy(golden["noise"]), 0.75)
        predicted = network(pixels, masking)
        loss = reconstruction_loss(predicted, pixel_target(norm=norm)(pixels), mask=masking.mask)
        loss.backward()
        assert loss.item() == pytest.approx(float(golden["loss"]), rel=1e-5)
        assert (masking.mask.numpy() == golden["mask"]).all()
        np.testing.assert_allclose(predicted.detach()[:, ::7, ::16], golden["pred"], atol=1e-4)
        ours = {name.removeprefix("encoder."): p for name, p in network.named_parameters() if p.requires_grad}
        assert set(ours) == set(golden["grad_names"])
        norms = [ours[name].grad.norm().item() for name in golden["grad_names"]]  # type: ignore[union-attr]
        np.testing.assert_allclose(norms, golden["grad_norms"], rtol=1e-4)

    @staticmethod
    def recipe_network(size: str) -> MaskedAutoencoder:
        network = MaskedAutoencoder(ViTEncoder(**SIZES[size]), target_dim=16 * 16 * 3, decoder="all")
        recipe = {
            name: torch.from_numpy(value(name.removeprefix("encoder."), entry.shape))  # under the public names
            for name, entry in network.state_dict().items()
            if not name.endswith("pos_embed")
        }
        network.load_state_dict({**network.state_dict(), **recipe})
        return network

    @staticmethod
    def images(seed: int) -> np.ndarray:
        photos = np.stack([image(240, 240, seed + i)[:224, :224] for i in range(2)]) / 255
        return ((photos - IMAGENET_DEFAULT_MEAN) / IMAGENET_DEFAULT_STD).transpose(0, 3, 1, 2).astype(np.float32)


class TestMasking:
    @settings(deadline=None)
    @given(st.integers(0, 2**32 - 1), st.sampled_from([0.5, 0.75, 0.85]))
    def test_every_patch_is_either_visible_or_masked(self, seed: int, ratio: float) -> None:
        masking = some_masking(3, ratio, seed)
        assert masking.visible.shape == (3, int(16 * (1 - ratio)))
        both = torch.cat([masking.visible, masking.masked], 1)
        assert (both.sort(1).values == torch.arange(16)).all()
        assert (masking.mask.sum(1) == masking.masked.shape[1]).all()
        assert masking.mask.gather(1, masking.visible).sum() == 0

    def test_all_patches_are_masked_equally_often(self) -> None:
        masked = mask_patches(torch.rand(20_000, 16, generator=torch.Generator().manual_seed(1)), 0.75).mask.mean(0)
        deviation = (0.75 * 0.25 / 20_000) ** 0.5
        assert (masked - 0.75).abs().max() < 4.5 * deviation

    @pytest.mark.parametrize("ratio", [0.0, 1.0, 0.99])
    def test_a_ratio_that_leaves_nothing_to_do_is_refused(self, ratio: float) -> None:
        with pytest.raises(BenchError, match="mask ratio"):
            some_masking(ratio=ratio)


class TestSami:
    @pytest.mark.parametrize("decoder", ["masked", "all"])
    def test_no_output_reads_a_masked_pixel(self, decoder: str) -> None:
        network, masking = autoencoder(decoder), some_masking()
        pixels = torch.randn(2, 3, 64, 64, requires_grad=True)
        weight = torch.randn(2, 16, 5)
        (network(pixels, masking) * weight).sum().backward()
        assert pixels.grad is not None
        assert (pixels.grad * pixels_of(masking.masked) == 0).all()
        assert (pixels.grad * pixels_of(masking.visible)).abs().sum() > 0

    def test_visible_tokens_bypass_the_decoder(self) -> None:
        """Other weights in the decoder's blocks, norm, mask token and positions change masked tokens alone."""
        network, masking, pixels = autoencoder(), some_masking(), torch.randn(2, 3, 64, 64)
        before = network(pixels, masking)
        with torch.no_grad():
            for name, parameter in network.named_parameters():
                if name.startswith(("decoder_blocks", "decoder_norm", "mask_token", "decoder_pos_embed")):
                    parameter.add_(torch.randn_like(parameter))
        after = network(pixels, masking)
        changed = (before != after).any(-1)
        assert (changed == masking.mask.bool()).all()

    def test_with_all_tokens_decoded_visible_ones_depend_on_the_decoder_too(self) -> None:
        network, masking, pixels = autoencoder("all"), some_masking(), torch.randn(2, 3, 64, 64)
        before = network(pixels, masking)
        with torch.no_grad():
            network.decoder_blocks[0].mlp.fc2.weight.add_(1.0)  # type: ignore[union-attr, operator]
        assert (before != network(pixels, masking)).any(-1).all()

    def test_tokens_come_back_in_the_order_of_the_image(self) -> None:
        """Visible tokens equal the encoder's own, each at its place; masked ones know where they are."""
        network, masking, pixels = autoencoder(), some_masking(), torch.randn(2, 3, 64, 64)
        out = network(pixels, masking)
        seen = network.decoder_pred(network.decoder_embed(network.encoder(pixels, masking.visible)))[:, 1:]
        for batch in range(2):
            for position, patch in enumerate(masking.visible[batch]):
                torch.testing.assert_close(out[batch, patch], seen[batch, position])
        shuffled = Masking(masking.visible.flip(1), masking.masked.flip(1))
        torch.testing.assert_close(network(pixels, shuffled), out, atol=1e-5, rtol=1e-5)

    def test_masked_queries_are_rows_of_full_attention(self) -> None:
        """A block that updates all tokens gives its queries what it gives them with the others as fixed context."""
        block = autoencoder().decoder_blocks[0]
        context, queries = torch.randn(2, 4, 32), torch.randn(2, 12, 32)
        everything = block(torch.cat([context, queries], 1), context[:, :0])
        torch.testing.assert_close(block(queries, context), everything[:, 4:])

    def test_the_decoder_asks_what_the_encoder_saw(self) -> None:
        network, masking, pixels = autoencoder(), some_masking(), torch.randn(2, 3, 64, 64)
        other = pixels + pixels_of(masking.visible) * torch.randn_like(pixels)
        assert (network(pixels, masking) != network(other, masking)).any(-1).all()


class TestLoss:
    def test_it_is_equation_1_over_the_width(self) -> None:
        """Equation 1: the mean over tokens of the squared distance of features; ours also divides by the width."""
        predicted = torch.tensor([[[1.0, 2.0], [0.0, 0.0], [3.0, -1.0]]])
        target = torch.tensor([[[1.0, 0.0], [1.0, 1.0], [0.0, 3.0]]])
        equation_1 = (4 + 2 + 25) / 3
        assert reconstruction_loss(predicted, target).item() * 2 == pytest.approx(equation_1)
        mask = torch.tensor([[1.0, 0.0, 1.0]])
        assert reconstruction_loss(predicted, target, mask=mask).item() * 2 == pytest.approx((4 + 25) / 2)

    def test_cosine_is_one_minus_cosine(self) -> None:
        predicted, target = torch.tensor([[[1.0, 0.0], [2.0, 2.0]]]), torch.tensor([[[0.0, 3.0], [1.0, 1.0]]])
        assert reconstruction_loss(predicted, target, loss="cosine").item() == pytest.approx((1 + 0) / 2)


class TestPixels:
    def test_a_patch_is_its_pixels_row_by_row_with_colours_last(self) -> None:
        pixels = torch.arange(3 * 32 * 32.0).view(1, 3, 32, 32)
        patches = pixel_target()(pixels)
        assert patches.shape == (1, 4, 768)
        assert (patches[0, 1].view(16, 16, 3).permute(2, 0, 1) == pixels[0, :, :16, 16:]).all()

    def test_normalised_patches_have_no_mean_and_unit_variance(self) -> None:
        patches = pixel_target(norm=True)(torch.randn(2, 3, 32, 32) * 7 + 3)
        torch.testing.assert_close(patches.mean(-1), torch.zeros(2, 4), atol=1e-5, rtol=0)
        torch.testing.assert_close(patches.var(-1), torch.ones(2, 4), atol=1e-4, rtol=0)


@pytest.fixture(params=["ti", "s"])
def released(request: pytest.FixtureRequest) -> tuple[str, dict[str, Tensor]]:
    """An image encoder of a released size under its released names (held to the manifests elsewhere)."""
    network = efficientsam(**{**SIZES[request.param], "depth": 12})
    prefix = "image_encoder."
    state = {k.removeprefix(prefix): v for k, v in fill(network).state_dict().items() if k.startswith(prefix)}
    return request.param, state


def load_released(encoder: ViTEncoder, state: dict[str, Tensor]) -> None:
    """Load all but the neck; class token and last norm stay as they are."""
    vit = {name: value for name, value in state.items() if not name.startswith("neck.")}
    encoder.load_state_dict({**encoder.state_dict(), **vit})


class TestReleasedEncoders:
    def test_they_load_and_come_back_without_loss(self, released: tuple[str, dict[str, Tensor]]) -> None:
        size, state = released
        encoder = ViTEncoder(**SIZES[size])
        load_released(encoder, state)
        back = to_efficientsam(encoder.state_dict())
        assert set(back) == {name for name in state if not name.startswith("neck.")}
        assert all(torch.equal(back[name], state[name]) for name in back)

    def test_a_loaded_encoder_computes_what_efficientsam_computes(self) -> None:
        """Without class token, at 224 px: block by block the same tokens."""
        network = fill(efficientsam(**SIZES["ti"], depth=2, img_size=224))
        state = {k.removeprefix("image_encoder."): v for k, v in network.state_dict().items() if "image_encoder" in k}
        encoder = ViTEncoder(**SIZES["ti"], depth=2)
        load_released(encoder, state)
        pixels = torch.randn(1, 3, 224, 224)
        tokens = encoder.patch_embed(pixels) + encoder.pos_embed[:, 1:]
        theirs = network.image_encoder.patch_embed(pixels).flatten(2).mT + network.image_encoder.pos_embed[:, 1:]  # type: ignore[union-attr, operator, index]
        for ours, other in zip(encoder.blocks, network.image_encoder.blocks, strict=True):  # type: ignore[union-attr, arg-type]
            tokens, theirs = ours(tokens), other(theirs)
        torch.testing.assert_close(tokens, theirs, atol=1e-4, rtol=1e-4)


@settings(max_examples=5, deadline=None)
@given(st.sampled_from([0.5, 0.75, 0.85]))
def test_every_patch_of_any_ratio_is_reconstructed(ratio: float) -> None:
    assert autoencoder()(torch.randn(2, 3, 64, 64), some_masking(ratio=ratio)).shape == (2, 16, 5)
