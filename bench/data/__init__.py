"""Data sets as their publishers lay them out: photos, annotated instances, detectors' boxes; no torch."""

from bench.data.boxes import tight_box_xyxy
from bench.data.detection_index import open_detections
from bench.data.detections import Detections, ImageDetections
from bench.data.images import read_rgb
from bench.data.instances import Annotation, ImageInfo, Instances, open_instances
from bench.data.problems import Problem
from bench.data.verify import VerifyReport, is_published_boxes, is_published_set, verify

__all__ = [
    "Annotation",
    "Detections",
    "ImageDetections",
    "ImageInfo",
    "Instances",
    "Problem",
    "VerifyReport",
    "is_published_boxes",
    "is_published_set",
    "open_detections",
    "open_instances",
    "read_rgb",
    "tight_box_xyxy",
    "verify",
]
