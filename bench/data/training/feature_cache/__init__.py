"""A teacher's features of every (image, view), computed once: webdataset tar shards that are read at random.

A sample is `<image>-<view>.features.npy`, float16 [N, C], and `<image>-<view>.crop.json`, the crop it was made of.
All samples have one size, so a sample's place in its uncompressed tar is known without an index.
"""

from bench.data.training.feature_cache.layout import About, disk_need
from bench.data.training.feature_cache.read import FeatureCache
from bench.data.training.feature_cache.write import CropsOfBatch, write_features

__all__ = ["About", "CropsOfBatch", "FeatureCache", "disk_need", "write_features"]
