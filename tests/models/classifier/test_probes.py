"""Probes of frozen features: DINO's neighbours, softmax regression, and the encoders they are asked of."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import save_file

from models.classifier.network import to_input
from models.classifier.probes import (
    explained_variance,
    fit_softmax,
    frozen_features,
    knn_probe,
    linear_probe,
    load_encoder,
)
from models.errors import BenchError
from models.sami.encoder import ViTEncoder
from models.sami.network import MaskedAutoencoder

RNG = np.random.default_rng(0)
KNOWN, ASKED = RNG.normal(size=(40, 6)).astype(np.float32), RNG.normal(size=(9, 6)).astype(np.float32)
LABELS = np.arange(40) % 7


def tiny_encoder() -> ViTEncoder:
    torch.manual_seed(0)
    encoder = ViTEncoder(img_size=32, patch_size=8, embed_dim=16, depth=2, num_heads=2)
    torch.nn.init.normal_(encoder.norm.bias)
    return encoder


class TestNeighbours:
    @pytest.mark.parametrize("k", [1, 5, 20, 99])
    def test_votes_are_counted_as_dino_describes(self, k: int) -> None:
        expected = []
        for feature in ASKED.astype(float):
            cosines = [f @ feature / np.linalg.norm(f) / np.linalg.norm(feature) for f in KNOWN.astype(float)]
            votes = np.zeros(7)
            for index in sorted(range(40), key=lambda i: -cosines[i])[:k]:
                votes[LABELS[index]] += np.exp(cosines[index] / 0.07)
            expected.append(sorted(range(7), key=lambda label: (-votes[label], label))[:5])
        assert knn_probe(KNOWN, LABELS, ASKED, k=k).tolist() == expected

    def test_the_length_of_features_does_not_matter(self) -> None:
        scaled = KNOWN * RNG.uniform(0.1, 10, (40, 1)).astype(np.float32)
        np.testing.assert_array_equal(knn_probe(scaled, LABELS, ASKED * 3), knn_probe(KNOWN, LABELS, ASKED))

    def test_images_that_are_known_find_themselves(self) -> None:
        np.testing.assert_array_equal(knn_probe(KNOWN, LABELS, KNOWN, k=1)[:, 0], LABELS)

    def test_fewer_than_five_classes_are_padded(self) -> None:
        assert knn_probe(KNOWN, LABELS % 2, ASKED)[:, 2:].tolist() == [[-1, -1, -1]] * 9

    def test_many_images_are_compared_some_at_a_time(self, monkeypatch: pytest.MonkeyPatch) -> None:
        whole = knn_probe(KNOWN, LABELS, ASKED)
        monkeypatch.setattr("models.classifier.probes._SIMILARITIES_AT_ONCE", 80)
        np.testing.assert_array_equal(knn_probe(KNOWN, LABELS, ASKED), whole)


class TestLinear:
    @pytest.mark.parametrize("penalty", [1e-3, 0.1])
    def test_weights_are_where_torchs_gradient_is_zero(self, penalty: float) -> None:
        inputs = np.column_stack([KNOWN.astype(float), np.ones(40)])
        weights = torch.from_numpy(fit_softmax(inputs, LABELS, penalty=penalty)).requires_grad_()
        loss = F.cross_entropy(torch.from_numpy(inputs) @ weights, torch.from_numpy(LABELS))
        (loss + penalty / 2 * (weights[:-1] ** 2).sum()).backward()
        assert float(weights.grad.abs().max()) < 1e-4  # type: ignore[union-attr]

    def test_classes_a_line_separates_are_told_apart(self) -> None:
        labels = (KNOWN[:, 0] > 0).astype(np.int64) + 2 * (KNOWN[:, 1] > 0)
        expected = (ASKED[:, 0] > 0).astype(np.int64) + 2 * (ASKED[:, 1] > 0)
        clear = np.abs(ASKED[:, :2]).min(1) > 0.3
        assert clear.sum() > 3
        np.testing.assert_array_equal(linear_probe(KNOWN, labels, ASKED)[clear, 0], expected[clear])

    def test_units_and_constant_features_do_not_matter(self) -> None:
        known, asked = (np.column_stack([f * 1000 + 7, np.full(len(f), 3.0)]) for f in (KNOWN, ASKED))
        np.testing.assert_array_equal(linear_probe(known, LABELS, asked), linear_probe(KNOWN, LABELS, ASKED))


class TestExplainedVariance:
    PHOTOS = RNG.integers(0, 256, (60, 40, 40, 3), dtype=np.uint8)

    def test_it_is_all_of_what_follows_linearly_from_the_tokens(self) -> None:
        encoder, turn = tiny_encoder(), torch.randn(16, 5, generator=torch.Generator().manual_seed(1))
        shares = explained_variance(
            encoder, lambda pixels: encoder(pixels)[:, 1:] @ turn + 3, self.PHOTOS[:40], self.PHOTOS[40:], ridge=1e-9
        )
        assert shares.shape == (20,)
        assert shares == pytest.approx(1, abs=1e-5)

    def test_it_is_none_of_what_has_nothing_to_do_with_them(self) -> None:
        noise = torch.Generator().manual_seed(2)
        shares = explained_variance(
            tiny_encoder(), lambda p: torch.randn(len(p), 16, 5, generator=noise), self.PHOTOS[:40], self.PHOTOS[40:]
        )
        assert -0.1 < shares.mean() < 0.05

    def test_it_is_what_least_squares_say(self) -> None:
        """numpy's solver on the same tokens, less their means over the known photos, place by place.

        Normalised tokens have a direction of rounding errors alone, which neither may fit.
        """
        encoder = tiny_encoder()

        def target(pixels: torch.Tensor) -> torch.Tensor:
            return F.avg_pool2d(pixels, 8).square().flatten(2).transpose(1, 2)  # [B, 16, 3]

        shares = explained_variance(encoder, target, self.PHOTOS[:40], self.PHOTOS[40:], ridge=1e-9, batch=7)
        pixels = to_input(list(self.PHOTOS), 32)
        with torch.inference_mode():
            tokens, wanted = encoder(pixels)[:, 1:].double().numpy(), target(pixels).double().numpy()
        tokens, wanted = tokens - tokens[:40].mean(0), wanted - wanted[:40].mean(0)
        weights = np.linalg.lstsq(tokens[:40].reshape(-1, 16), wanted[:40].reshape(-1, 3), rcond=1e-5)[0]
        errors = ((wanted[40:] - tokens[40:] @ weights) ** 2).sum((1, 2))
        spread = (wanted[40:] ** 2).sum((1, 2))
        assert shares.mean() == pytest.approx(1 - errors.sum() / spread.sum(), abs=1e-6)
        assert shares == pytest.approx(1 - errors / spread.mean(), abs=1e-6)

    def test_a_diverged_encoder_is_refused(self) -> None:
        encoder = tiny_encoder()
        torch.nn.init.constant_(encoder.norm.bias, float("nan"))
        with pytest.raises(BenchError, match="NaN or infinite"):
            explained_variance(encoder, lambda p: torch.zeros(len(p), 16, 5), self.PHOTOS[:4], self.PHOTOS[4:8])


@pytest.mark.parametrize("probe", [knn_probe, linear_probe])
class TestBadFeatures:
    def test_nan_is_an_error(self, probe: type) -> None:
        with pytest.raises(BenchError, match="NaN"):
            probe(KNOWN, LABELS, np.full_like(ASKED, np.nan))

    def test_labels_must_be_as_many_as_images(self, probe: type) -> None:
        with pytest.raises(BenchError, match="39 labels and 40 images"):
            probe(KNOWN, LABELS[1:], ASKED)


class TestEncoder:
    def test_features_are_its_mean_patch_token_or_its_class_token(self) -> None:
        encoder = tiny_encoder().eval()
        photos = [RNG.integers(0, 256, (40, 40, 3), dtype=np.uint8) for _ in range(5)]
        with torch.no_grad():
            tokens = encoder(to_input(photos, 32)).numpy()
        kinds = {"avg": tokens[:, 1:].mean(1), "token": tokens[:, 0]}
        for pool, expected in kinds.items():
            found = frozen_features(encoder.train(), photos, pool=pool, batch=2)  # type: ignore[arg-type]
            np.testing.assert_allclose(found, expected, atol=1e-5)

    def test_it_is_found_alone_inside_an_autoencoder_and_in_a_public_checkpoint(self, tmp_path: Path) -> None:
        encoder = tiny_encoder()
        parts = {"target_dim": 4, "decoder_dim": 8, "decoder_depth": 1, "decoder_heads": 2}
        whole = MaskedAutoencoder(encoder, **parts)  # type: ignore[arg-type]
        public = {name.removeprefix("encoder."): value for name, value in whole.state_dict().items()}
        for index, state in enumerate((encoder.state_dict(), whole.state_dict(), public)):
            path = tmp_path / f"{index}.safetensors"
            save_file({name: value.contiguous() for name, value in state.items()}, path)
            loaded = load_encoder(path, heads=2)
            assert (loaded.img_size, loaded.depth) == (32, 2)
            for name, value in encoder.state_dict().items():
                assert torch.equal(loaded.state_dict()[name], value), name
        torch.save({"model": public}, tmp_path / "public.pth")
        assert load_encoder(tmp_path / "public.pth", heads=2).embed_dim == 16

    def test_heads_follow_from_the_usual_widths_and_must_be_named_for_others(self, tmp_path: Path) -> None:
        save_file(ViTEncoder(embed_dim=56, depth=1, num_heads=4).state_dict(), tmp_path / "ti.safetensors")
        assert load_encoder(tmp_path / "ti.safetensors").blocks[0].attn.num_heads == 4  # type: ignore[union-attr]
        save_file(tiny_encoder().state_dict(), tmp_path / "odd.safetensors")
        with pytest.raises(BenchError, match="pass --heads"):
            load_encoder(tmp_path / "odd.safetensors")

    def test_a_file_without_an_encoder_is_an_error(self, tmp_path: Path) -> None:
        save_file({"weight": torch.zeros(1)}, tmp_path / "other.safetensors")
        with pytest.raises(BenchError, match="holds no ViT encoder"):
            load_encoder(tmp_path / "other.safetensors")
        with pytest.raises(BenchError, match="no checkpoint"):
            load_encoder(tmp_path / "nothing.safetensors")
