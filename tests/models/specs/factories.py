"""Factories of predictors for tests: the published packages' own, at micro size, and some that are wrong."""

import warnings
from functools import partial

import numpy as np
import segment_anything
import torch
from segment_anything.modeling import ImageEncoderViT, MaskDecoder, PromptEncoder, Sam, TwoWayTransformer
from torch import nn

from models import zoo

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # it overwrites timm's registered TinyViTs and imports deprecated modules
    import mobile_sam
    from mobile_sam.modeling.tiny_vit_sam import TinyViT

from models.mobilesam.build import official_key_map

WIDTH, GRID, SIDE = 96, 16, 256


def _decoder():
    """The published decoder with the upscaling widths of the micro models."""
    transformer = TwoWayTransformer(depth=2, embedding_dim=WIDTH, num_heads=4, mlp_dim=160)
    decoder = MaskDecoder(transformer_dim=WIDTH, transformer=transformer, iou_head_hidden_dim=96)
    ours = zoo.load("sam-micro").network.mask_decoder
    first, norm, activation, second, last = decoder.output_upscaling
    first, second = nn.ConvTranspose2d(WIDTH, 48, 2, 2), nn.ConvTranspose2d(48, 24, 2, 2)
    norm.weight, norm.bias = nn.Parameter(torch.ones(48)), nn.Parameter(torch.zeros(48))
    decoder.output_upscaling = nn.Sequential(first, norm, activation, second, last)
    for mlp, own in zip(decoder.output_hypernetworks_mlps, ours.output_hypernetworks_mlps, strict=True):
        mlp.layers = nn.ModuleList(nn.Linear(one.in_features, one.out_features) for one in own.layers)
    return decoder


def _published(encoder, name, rename=dict):
    """Return the published SAM around an encoder with the weights of a micro model."""
    prompts = PromptEncoder(WIDTH, (GRID, GRID), (SIDE, SIDE), mask_in_chans=16)
    model = Sam(encoder, prompts, _decoder())
    state = zoo.load(name).network.state_dict()
    own = model.state_dict()
    places = rename({entry: torch.tensor(index) for index, entry in enumerate(own)})
    order = list(own)
    model.load_state_dict({order[place]: state[entry] for entry, place in places.items()}, strict=False)
    loaded = {order[place] for place in places.values()}
    assert all("head" in entry or "bias_idxs" in entry for entry in own.keys() - loaded)
    return model.eval()


def sam():
    """segment-anything's own SamPredictor with the weights of sam-micro."""
    encoder = ImageEncoderViT(
        img_size=SIDE,
        embed_dim=120,
        depth=6,
        num_heads=6,
        window_size=8,
        global_attn_indexes=(2, 5),
        use_rel_pos=True,
        out_chans=WIDTH,
        norm_layer=partial(nn.LayerNorm, eps=1e-6),
    )
    return segment_anything.SamPredictor(_published(encoder, "sam-micro"))


class MicroTinyViT(TinyViT):
    """The published encoder at 256 px: its own has the grid of 1024 px written into it, and the widths of full size."""

    def __init__(self, **widths):
        super().__init__(img_size=SIDE, num_classes=1, drop_path_rate=0.0, **widths)
        self.layers[2].downsample.conv2.c.stride = (1, 1)

    def forward(self, pixels):
        tokens = self.patch_embed(pixels)
        for layer in self.layers:
            tokens = layer(tokens)
        return self.neck(tokens.mT.unflatten(2, (GRID, GRID)))


def mobilesam():
    """mobilesam-mirror's own SamPredictor with the weights of mobilesam-micro."""
    encoder = MicroTinyViT(
        embed_dims=(16, 32, 48, 64),
        depths=(1, 2, 3, 1),
        num_heads=(1, 2, 3, 4),
        window_sizes=(8, 8, 16, 8),
    )
    own = zoo.load("mobilesam-micro").network.image_encoder.neck
    for index, layer in enumerate(own):
        if hasattr(layer, "out_channels"):
            encoder.neck[index] = nn.Conv2d(
                layer.in_channels, layer.out_channels, layer.kernel_size, padding=layer.padding, bias=False
            )
        else:
            encoder.neck[index].weight = nn.Parameter(torch.ones_like(layer.weight))
            encoder.neck[index].bias = nn.Parameter(torch.zeros_like(layer.bias))
    return mobile_sam.SamPredictor(_published(encoder, "mobilesam-micro", official_key_map))


class OneByOne:
    """A SamPredictor without its predict_torch."""

    def __init__(self, inner):
        self._inner, self.model = inner, inner.model
        self.set_image = inner.set_image

    def predict(self, point_coords=None, point_labels=None, box=None, mask_input=None, multimask_output=True):
        return self._inner.predict(point_coords, point_labels, box, mask_input, multimask_output)


def one_by_one():
    return OneByOne(sam())


class EdgeLike(OneByOne):
    """Called as EdgeSAM's: features come first, and masks are counted."""

    def predict(self, features=None, point_coords=None, point_labels=None, box=None, num_multimask_outputs=3):
        return self._inner.predict(point_coords, point_labels, box, None, num_multimask_outputs == 3)

    def predict_torch(self, features, point_coords, point_labels, boxes=None, mask_input=None, return_logits=False):
        raise AssertionError("its features are not ours to give")


def edge_like():
    return EdgeLike(sam())


class TinyLike:
    """Called as TinySAM's: always three masks, many prompts at once."""

    def __init__(self, inner):
        self._inner, self.model, self.transform, self.device = inner, inner.model, inner.transform, inner.device
        self.set_image, self.calls = inner.set_image, 0

    def predict(self, point_coords=None, point_labels=None, box=None, mask_input=None, return_logits=False):
        raise AssertionError("prompts are asked together")

    def predict_torch(self, point_coords, point_labels, boxes=None, mask_input=None, return_logits=False):
        self.calls += 1
        return self._inner.predict_torch(point_coords, point_labels, boxes, mask_input, return_logits=return_logits)


def tiny_like():
    return TinyLike(sam())


class Plain:
    """Answers a box with itself."""

    def set_image(self, image):
        self.size = image.shape[:2]

    def predict(self, point_coords=None, point_labels=None, box=None):
        mask = np.zeros((1, *self.size), bool)
        if box is not None:
            x0, y0, x1, y1 = np.round(box).astype(int)
            mask[:, y0:y1, x0:x1] = True
        return mask, np.ones(1), np.zeros((1, 4, 4))


def plain(checkpoint="", device="cpu"):
    found = Plain()
    found.told = checkpoint, device
    return found


class Small(Plain):
    """Answers at another size."""

    def predict(self, point_coords=None, point_labels=None, box=None):
        return np.ones((1, 8, 8), bool), np.ones(1), np.zeros((1, 4, 4))


class Pair(Plain):
    def predict(self, point_coords=None, point_labels=None, box=None):
        return np.ones((1, *self.size), bool), np.ones(1)


class Unrefined(Plain):
    """Takes mask prompts and returns nothing to make one of."""

    def predict(self, point_coords=None, point_labels=None, box=None, mask_input=None, multimask_output=True):
        masks, predicted_iou, _ = super().predict(point_coords, point_labels, box)
        return masks, predicted_iou, None


class Unscored(Plain):
    def predict(self, point_coords=None, point_labels=None, box=None):
        return np.ones((1, *self.size), bool), None, None


class Two(Plain):
    def predict(self, point_coords=None, point_labels=None, box=None):
        return np.ones((2, *self.size), bool), np.ones(1), np.zeros((1, 4, 4))


class Breaks(Plain):
    def predict(self, point_coords=None, point_labels=None, box=None):
        raise IndexError("no such layer")


def raises():
    raise RuntimeError("no weights here")


def nothing():
    return 7
