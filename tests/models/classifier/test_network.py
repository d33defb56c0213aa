"""The classifier is the encoder with MAE's head on it, and answers as timm's evaluation would ask it."""

from __future__ import annotations

import numpy as np
import pytest
import timm
import torch
from PIL import Image
from torch import Tensor, nn

from models.classifier.network import Classifier, evaluate_classifier, input_side, predict, to_input
from models.errors import BenchError
from models.preprocessing import normalise
from models.sami.encoder import ViTEncoder


def tiny_encoder() -> ViTEncoder:
    torch.manual_seed(0)
    return ViTEncoder(img_size=32, patch_size=8, embed_dim=16, depth=3, num_heads=2)


def photos(count: int, height: int = 40, width: int = 50) -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    return [rng.integers(0, 256, (height, width, 3), dtype=np.uint8) for _ in range(count)]


def with_a_taught_head(classes: int = 7) -> Classifier:
    network = Classifier(tiny_encoder(), classes)
    nn.init.normal_(network.head.weight)
    return network


class Scores(nn.Module):
    """Returns the same logits for every image."""

    def __init__(self, *logits: float) -> None:
        super().__init__()
        self.logits = torch.tensor(logits)

    def forward(self, pixels: Tensor) -> Tensor:
        return self.logits.expand(len(pixels), -1)


class TestClassifier:
    def test_the_head_reads_the_class_token_of_the_encoder(self) -> None:
        encoder, pixels = tiny_encoder().eval(), torch.randn(2, 3, 32, 32)
        network = Classifier(encoder, 7, pool="token").eval()
        torch.testing.assert_close(network(pixels), network.head(encoder(pixels)[:, 0]))

    def test_the_head_reads_the_normalised_mean_of_the_patch_tokens(self) -> None:
        encoder, pixels = tiny_encoder().eval(), torch.randn(2, 3, 32, 32)
        network = Classifier(encoder, 7).eval()
        nn.init.normal_(network.head.weight)
        nn.init.normal_(network.fc_norm.weight)
        encoder.norm = nn.Identity()  # type: ignore[assignment]
        expected = network.head(network.fc_norm(encoder(pixels)[:, 1:].mean(1)))
        torch.testing.assert_close(network(pixels), expected)

    def test_entries_are_those_of_public_finetuned_checkpoints(self) -> None:
        with torch.device("meta"):
            theirs = timm.create_model("vit_tiny_patch16_224", global_pool="avg").state_dict()
        ours = Classifier(ViTEncoder(embed_dim=192, depth=12, num_heads=3), 1000).state_dict()
        assert {name: v.shape for name, v in ours.items()} == {name: v.shape for name, v in theirs.items()}

    def test_finetuning_leaves_the_encoder_alone_and_trains_positions(self) -> None:
        encoder = tiny_encoder()
        network, before = Classifier(encoder, 7), encoder.pos_embed.clone()
        with torch.no_grad():
            network.pos_embed.add_(1)
        assert torch.equal(encoder.pos_embed, before)
        assert network.pos_embed.requires_grad

    def test_before_training_every_class_is_equally_likely(self) -> None:
        logits = Classifier(tiny_encoder(), 7).eval()(torch.randn(2, 3, 32, 32))
        assert 0 < float(logits.detach().abs().max()) < 1e-3

    def test_stochastic_depth_grows_up_to_the_last_block(self) -> None:
        blocks = Classifier(tiny_encoder(), 7, drop_path=0.2).blocks
        assert [getattr(block.drop_path1, "drop_prob", 0.0) for block in blocks] == pytest.approx([0, 0.1, 0.2])


class TestInput:
    def test_a_photo_of_256_px_is_cropped_and_never_resized(self) -> None:
        photo = photos(1, 256, 256)[0]
        cropped = np.ascontiguousarray(photo[16:240, 16:240].transpose(2, 0, 1))[None]
        torch.testing.assert_close(to_input([photo]), normalise(cropped, torch.device("cpu")))

    @pytest.mark.parametrize("height, width, resized", [(40, 50, (36, 45)), (70, 40, (63, 36))])
    def test_other_photos_are_resized_by_their_shorter_side(
        self, height: int, width: int, resized: tuple[int, int]
    ) -> None:
        photo = photos(1, height, width)[0]
        new_h, new_w = resized
        small = np.asarray(Image.fromarray(photo).resize((new_w, new_h), Image.Resampling.BICUBIC))
        top, left = round((new_h - 32) / 2), round((new_w - 32) / 2)
        cropped = np.ascontiguousarray(small[top : top + 32, left : left + 32].transpose(2, 0, 1))[None]
        torch.testing.assert_close(to_input([photo], 32), normalise(cropped, torch.device("cpu")))

    def test_a_crop_share_of_one_cuts_no_border_off_a_square(self) -> None:
        photo = photos(1, 32, 32)[0]
        whole = np.ascontiguousarray(photo.transpose(2, 0, 1))[None]
        torch.testing.assert_close(to_input([photo], 32, 1.0), normalise(whole, torch.device("cpu")))

    def test_the_input_side_is_the_networks(self) -> None:
        assert input_side(Classifier(tiny_encoder(), 3)) == 32
        assert input_side(nn.Identity()) == 224


class TestAnswers:
    def test_answers_are_the_five_largest_logits_in_order(self) -> None:
        network, some = with_a_taught_head().eval(), photos(3)
        expected = network(to_input(some, 32)).topk(5, dim=1).indices
        answers = predict(network, some)
        assert answers.dtype == np.int64
        np.testing.assert_array_equal(answers, expected.numpy())

    def test_equally_likely_classes_come_in_their_own_order(self) -> None:
        assert predict(Scores(0, 1, 0, 1, 0, 0), photos(1)).tolist() == [[1, 3, 0, 2, 4]]

    def test_fewer_than_five_classes_are_padded(self) -> None:
        assert predict(Scores(0, 2, 1), photos(2)).tolist() == [[1, 2, 0, -1, -1]] * 2

    def test_the_size_of_batches_changes_nothing(self) -> None:
        network, some, steps = with_a_taught_head(), photos(5), []
        whole = evaluate_classifier(network, some, batch=5)
        parts = evaluate_classifier(network, some, batch=2, advance=steps.append)
        np.testing.assert_array_equal(whole, parts)
        assert whole.shape == (5, 5)
        assert steps == [2, 2, 1]

    def test_a_network_in_training_mode_is_evaluated_without_stochastic_depth(self) -> None:
        network = Classifier(tiny_encoder(), 7, drop_path=0.9).train()
        nn.init.normal_(network.head.weight)
        first = evaluate_classifier(network, photos(4))
        np.testing.assert_array_equal(first, evaluate_classifier(network.train(), photos(4)))

    def test_no_photos_have_no_answers(self) -> None:
        assert evaluate_classifier(with_a_taught_head(), []).shape == (0, 5)

    def test_nan_is_an_error(self) -> None:
        with pytest.raises(BenchError, match="NaN"):
            predict(Scores(0, float("nan")), photos(1))
