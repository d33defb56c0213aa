"""segment_anything's own SAM, small and micro, and a segmenter whose every answer is the published predictor's."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import numpy as np
import torch
from segment_anything import SamPredictor
from segment_anything.modeling import ImageEncoderViT, MaskDecoder, PromptEncoder, Sam, TwoWayTransformer
from segment_anything.modeling.common import LayerNorm2d
from segment_anything.modeling.mask_decoder import MLP
from torch import Tensor, nn

from models import zoo
from models.frames import resized
from models.segmenter import Embedding, Prompts, Segmentation
from tests.models.recipe import fill


class SparseSam(Sam):
    """A SAM that doubts everything, so that random weights give a few blobs a mask and no two boxes are the same."""

    def postprocess_masks(self, masks: Tensor, input_size: tuple[int, int], original_size: tuple[int, int]) -> Tensor:
        return super().postprocess_masks(masks, input_size, original_size) - 1.0


def small_sam() -> Sam:
    """A random network of 128 px input whose predicted IoU is spread over 0..1."""
    network = _sam(
        128, depth=2, heads=4, width=48, window=5, whole=(1,), decoder=32, decoder_heads=4, mlp=32, hidden=32
    )
    network.__class__ = SparseSam
    network.mask_decoder.iou_prediction_head.layers[-1].bias.data += 0.8
    return network


def micro_sam() -> Sam:
    """The committed micro SAM in the published classes; its decoder upscales with twice the published channels."""
    network = _sam(
        256, depth=6, heads=6, width=120, window=8, whole=(2, 5), decoder=96, decoder_heads=4, mlp=160, hidden=96
    )
    first, second = 48, 24
    network.mask_decoder.output_upscaling = nn.Sequential(
        nn.ConvTranspose2d(96, first, 2, 2),
        LayerNorm2d(first),
        nn.GELU(),
        nn.ConvTranspose2d(first, second, 2, 2),
        nn.GELU(),
    )
    network.mask_decoder.output_hypernetworks_mlps = nn.ModuleList(MLP(96, 96, second, 3) for _ in range(4))
    network.load_state_dict(zoo.load("sam-micro").network.state_dict())
    return network.eval()


def _sam(
    side: int,
    *,
    depth: int,
    heads: int,
    width: int,
    window: int,
    whole: Sequence[int],
    decoder: int,
    decoder_heads: int,
    mlp: int,
    hidden: int,
) -> Sam:
    encoder = ImageEncoderViT(
        img_size=side,
        embed_dim=width,
        depth=depth,
        num_heads=heads,
        window_size=window,
        global_attn_indexes=tuple(whole),
        use_rel_pos=True,
        out_chans=decoder,
        norm_layer=partial(nn.LayerNorm, eps=1e-6),
    )
    prompts = PromptEncoder(decoder, (side // 16, side // 16), (side, side), mask_in_chans=16)
    transformer = TwoWayTransformer(depth=2, embedding_dim=decoder, num_heads=decoder_heads, mlp_dim=mlp)
    head = MaskDecoder(transformer_dim=decoder, transformer=transformer, iou_head_hidden_dim=hidden)
    return fill(Sam(encoder, prompts, head))


class OfficialSegmenter:
    """The contract around `SamPredictor`: bits of embeddings, logits and upscaled logits are the published ones."""

    name, device = "official", torch.device("cpu")

    def __init__(self, network: Sam) -> None:
        self.predictor = SamPredictor(network)

    def embed(self, images: Sequence[np.ndarray]) -> list[Embedding]:
        embeddings = []
        for image in images:
            self.predictor.set_image(image)
            embeddings.append(Embedding(self.predictor.features[0], image.shape[:2]))
        return embeddings

    def segment(self, embedding: Embedding, prompts: Prompts, *, multimask: bool = True) -> Segmentation:
        points = self.predictor.transform.apply_coords(prompts.points, embedding.size)
        labels = torch.as_tensor(prompts.labels, dtype=torch.int)
        _, iou, logits = self.predictor.predict_torch(torch.as_tensor(points), labels, multimask_output=multimask)
        return Segmentation(logits, iou)

    def masks(self, logits: Tensor, size: tuple[int, int]) -> Tensor:
        return self.threshold(self.upscale(logits, size))

    def upscale(self, logits: Tensor, size: tuple[int, int]) -> Tensor:
        network = self.predictor.model
        return network.postprocess_masks(logits, resized(size, network.image_encoder.img_size), size)

    def threshold(self, upscaled: Tensor) -> Tensor:
        return upscaled > self.predictor.model.mask_threshold
