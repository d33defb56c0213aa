"""A tiny network of each family of `hf:`, with weights from a recipe, saved as transformers saves them."""

import timm
import transformers

from tests.models.recipe import fill

SIDE = {"sam": 256, "sam_hq": 256, "sam2": 256, "edgetam": 256, "sam3_tracker": 224}
"""Of each network's input, px."""
_WIDTH = 32
_DECODER = {"hidden_size": _WIDTH, "mlp_dim": 64, "num_attention_heads": 2, "iou_head_hidden_dim": 32}
_VIT = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "mlp_dim": 64, "window_size": 7}


def _prompts(family, patch=16):
    return {"hidden_size": _WIDTH, "image_size": SIDE[family], "patch_size": patch}


def _sizes(coarse):
    return [[4 * coarse] * 2, [2 * coarse] * 2, [coarse] * 2]


def _sam(family, kind):
    vision = {**_VIT, "output_channels": _WIDTH, "image_size": SIDE[family], "global_attn_indexes": [0, 1]}
    decoder = {**_DECODER, **({"vit_dim": 32} if family == "sam_hq" else {})}
    return getattr(transformers, f"{kind}Config")(
        vision_config=vision | {"num_pos_feats": _WIDTH // 2},
        prompt_encoder_config=_prompts(family),
        mask_decoder_config=decoder,
    )


def _sam2():
    backbone = {
        "hidden_size": 8,
        "image_size": [SIDE["sam2"]] * 2,
        "blocks_per_stage": [1, 1, 2, 1],
        "embed_dim_per_stage": [8, 16, 24, 32],
        "num_attention_heads_per_stage": [1, 1, 1, 1],
        "global_attention_blocks": [3],
    }
    vision = {
        "backbone_config": {"model_type": "sam2_hiera_det_model", **backbone},
        "backbone_channel_list": [32, 24, 16, 8],
        "backbone_feature_sizes": _sizes(16),
        "fpn_hidden_size": _WIDTH,
    }
    return transformers.Sam2Config(
        vision_config=vision, prompt_encoder_config=_prompts("sam2"), mask_decoder_config=_DECODER
    )


def _edgetam():
    name = "test_resnet.r160_in1k"
    levels = timm.create_model("test_resnet", features_only=True, out_indices=[1, 2, 3, 4])
    assert levels.feature_info.reduction() == [4, 8, 16, 32]
    backbone = transformers.TimmWrapperConfig(
        architecture=name, model_args={"in_chans": 3, "features_only": True, "out_indices": [1, 2, 3, 4]}
    )
    vision = transformers.EdgeTamVisionConfig(
        backbone_config=backbone,
        backbone_channel_list=levels.feature_info.channels()[::-1],
        backbone_feature_sizes=_sizes(16),
        fpn_hidden_size=_WIDTH,
    )
    return transformers.EdgeTamConfig(
        vision_config=vision, prompt_encoder_config=_prompts("edgetam"), mask_decoder_config=_DECODER
    )


def _sam3():
    backbone = {
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "image_size": SIDE["sam3_tracker"],
        "patch_size": 14,
        "window_size": 8,
        "global_attn_indexes": [1],
        "pretrain_image_size": SIDE["sam3_tracker"],
    }
    vision = {
        "backbone_config": {"model_type": "sam3_vit_model", **backbone},
        "backbone_feature_sizes": _sizes(16),
        "fpn_hidden_size": _WIDTH,
    }
    return transformers.Sam3TrackerConfig(
        vision_config={"model_type": "sam3_vision_model", **vision},
        prompt_encoder_config=_prompts("sam3_tracker", 14),
        mask_decoder_config=_DECODER,
    )


CONFIGS = {
    "sam": lambda: _sam("sam", "Sam"),
    "sam_hq": lambda: _sam("sam_hq", "SamHQ"),
    "sam2": _sam2,
    "edgetam": _edgetam,
    "sam3_tracker": _sam3,
}


def processor(family):
    """Return the library's own processor of a family at the network's size."""
    side = SIDE[family]
    if family in ("sam", "sam_hq"):
        images = transformers.SamImageProcessor(
            size={"longest_edge": side}, pad_size={"height": side, "width": side}, mask_size={"longest_edge": side // 4}
        )
        return (transformers.SamProcessor if family == "sam" else transformers.SamHQProcessor)(images)
    size = {"height": side, "width": side}
    if family == "sam3_tracker":
        images = transformers.Sam3ImageProcessor(size=size)
        return transformers.Sam3TrackerProcessor(images, target_size=side)
    return transformers.Sam2Processor(transformers.Sam2ImageProcessor(size=size), target_size=side)


def save(family, folder):
    """Write a network and its processor into a folder and return the network."""
    model = {"sam": "Sam", "sam_hq": "SamHQ", "sam2": "Sam2", "edgetam": "EdgeTam", "sam3_tracker": "Sam3Tracker"}
    network = fill(getattr(transformers, f"{model[family]}Model")(CONFIGS[family]()))
    network.save_pretrained(folder)
    processor(family).save_pretrained(folder)
    return network
