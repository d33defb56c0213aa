"""Every wait of the CPU for the GPU that there may be, and what for."""

_NAN = "weights that answer NaN are refused before anything is made of the answer"
_FOUND = "as many results as there are objects, of torchvision's proposals, samples and pooling"
_ULTRALYTICS = "ultralytics' assignment of objects to cells"

STATED: dict[str, str] = {
    "models/sam/segmenter.py:segment item": _NAN,
    "models/efficientsam/segmenter.py:segment item": _NAN,
    "protocols/predictors.py:_answer to cpu": "the masks; and confidence with choice in one copy",
    "protocols/predictors.py:_pick to cpu": "all candidates, where boxes or the truth choose among them",
    "models/training/loop.py:_step tolist": "once a step: a loss that is not finite must not reach the weights",
    "models/training/loop.py:_save to cpu": "a checkpoint",
    "models/vitdet/network.py:forward nonzero": _FOUND,
    "models/vitdet/network.py:forward nms": _FOUND,
    "models/vitdet/network.py:_head_losses nonzero": _FOUND,
    "models/vitdet/network.py:<listcomp> nonzero": _FOUND,
    "models/vitdet/pooling.py:forward nonzero": _FOUND,
    "models/training/fastsam.py:losses item": _ULTRALYTICS,
    "models/training/fastsam.py:losses nonzero": _ULTRALYTICS,
    "models/training/fastsam.py:losses tolist": _ULTRALYTICS,
    "models/training/fastsam.py:losses unique": _ULTRALYTICS,
    "models/training/loop.py:_step nonzero": "the same, backward",
}
