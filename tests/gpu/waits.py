"""Every wait of the CPU for the GPU that there may be, and what for."""

_NAN = "weights that answer NaN are refused before anything is made of the answer"
_FOUND = "as many results as there are objects, of torchvision's proposals, samples and pooling"
_MMDET = "mmdet's matching and sampling, mmcv's deformable attention, mmengine's clipping and log"
_ULTRALYTICS = "ultralytics' assignment of objects to cells"

STATED: dict[str, str] = {
    "models/sam/segmenter.py:segment item": _NAN,
    "models/efficientsam/segmenter.py:segment item": _NAN,
    "models/everything/segment.py:_at_points to cpu": "which candidates count, by predicted IoU, then by stability; "
    "and the masks that do",
    "models/annotations.py:answer to cpu": "which candidate is best; and its mask",
    "models/annotations.py:answer item": "its stability",
    "protocols/predictors.py:_answer to cpu": "the masks; and confidence with choice in one copy",
    "protocols/predictors.py:_pick to cpu": "all candidates, where boxes or the truth choose among them",
    "models/classifier/network.py:predict item": _NAN,
    "models/classifier/network.py:predict to cpu": "the likeliest classes, once a batch",
    "models/classifier/probes.py:frozen_features to cpu": "the features, once a batch",
    "bench/data/training/feature_cache/write.py:_array to cpu": "the features, once a batch",
    "models/vitdet/network.py:_detect item": _NAN,
    "models/vitdet/network.py:_detect nonzero": _FOUND,
    "models/vitdet/network.py:_detect nms": _FOUND,
    "models/vitdet/detector.py:_found to cpu": "boxes, scores and labels of a photo",
    "models/vitdet/pooling.py:paste tolist": "where in the photo a mask is",
    "models/vitdet/pooling.py:paste to cpu": "the masks of a photo in one copy",
    "models/fastsam/segmenter.py:_everything item": "ultralytics' suppression of repeated boxes",
    "models/fastsam/segmenter.py:_everything nonzero": "likewise",
    "models/fastsam/segmenter.py:_everything nms": "likewise",
    "models/fastsam/segmenter.py:_everything to cpu": "all masks of a photo in one copy",
    "models/mask2former/evaluate.py:predict item": "mmcv's deformable attention without compiled operators, and "
    + _NAN,
    "models/mask2former/evaluate.py:predict to cpu": "the classes of a photo",
    "models/mask2former/train.py:after_train_iter tolist": "once a step, to log the losses, which must be finite",
    "models/mask2former/train.py:after_load_checkpoint to cpu": "a resume",
    "models/mask2former/train.py:train_semantic to cpu": "what mmengine writes down of the first weights",
    "models/mask2former/train.py:run to cpu": "SciPy matches queries with masks; and mmengine's checkpoints",
    "models/mask2former/train.py:run item": _MMDET,
    "models/mask2former/train.py:run nonzero": _MMDET,
    "models/mask2former/train.py:run unique": _MMDET,
    "models/training/loop.py:_step tolist": "once a step: a loss that is not finite must not reach the weights",
    "models/training/loop.py:_save to cpu": "a checkpoint",
    "bench/training/train.py:export to cpu": "the weights, at the end",
    "bench/training/train.py:<genexpr> item": "no weight that is not finite is kept, at the end",
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
