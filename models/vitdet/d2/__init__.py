"""The same ViTDet on detectron2's own parts, for people who have it: the published files, its training tool."""
