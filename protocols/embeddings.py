"""A segmenter that embeds an image once: for several tables in one run, and on disk for later runs."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from safetensors.torch import load, save

from bench.store.bounded import BoundedFolder
from models.segmenter import Embedding, Segmenter

REMEMBERED = 1 << 29
"""Bytes that embeddings which several tables share may take; FastSAM's hold every mask of an image."""


def embedding_once(model: Any, images: int, folder: BoundedFolder | None = None, identity: str = "") -> Any:
    """Return a segmenter that remembers the embeddings of images; what is no segmenter comes back as it is.

    Args:
        model: a segmenter or a predictor.
        images: how many of the last images it remembers in memory.
        folder: where embeddings are kept for later runs, None for nowhere.
        identity: of everything that embeddings depend on besides the image and the precision.
    """
    return _EmbeddingOnce(model, images, folder, identity) if hasattr(model, "embed") else model


class _EmbeddingOnce:
    """A segmenter around another one."""

    def __init__(self, segmenter: Segmenter, images: int, folder: BoundedFolder | None, identity: str) -> None:
        self.segmenter, self._images = segmenter, images
        self._folder, self._identity = folder, identity
        self._embeddings: dict[bytes, Any] = {}

    def __getattr__(self, name: str) -> Any:
        return getattr(self.segmenter, name)

    def embed(self, images: Sequence[np.ndarray]) -> list[Any]:
        """Return the embedding of each image uint8 [H, W, 3], made at its first sight."""
        return [self._embedding(image) for image in images]

    def _embedding(self, image: np.ndarray) -> Any:
        content = hashlib.blake2b(image.tobytes() + repr(image.shape).encode()).digest()
        if content not in self._embeddings:
            self._embeddings[content] = self._from_disk(content, image)
            while len(self._embeddings) > self._images or (len(self._embeddings) > 1 and self._bytes() > REMEMBERED):
                del self._embeddings[next(iter(self._embeddings))]  # the oldest
        return self._embeddings[content]

    def _from_disk(self, content: bytes, image: np.ndarray) -> Any:
        if self._folder is None:
            return self.segmenter.embed([image])[0]
        key = self._key(content)
        kept = self._folder.read(key)
        if kept is not None:
            features = load(kept)["features"]
            return Embedding(features.to(self.segmenter.device), (image.shape[0], image.shape[1]))
        (embedding,) = self.segmenter.embed([image])
        if type(embedding) is Embedding:  # what else a model's own kind holds, nobody knows
            self._folder.write(key, save({"features": embedding.features.cpu().contiguous()}))
        return embedding

    def _key(self, content: bytes) -> str:
        """Return what tells an embedding from others: model, code, libraries, precision, image."""
        kind = self.segmenter.device.type
        half = str(torch.get_autocast_dtype(kind)) if torch.is_autocast_enabled(kind) else ""
        engine = f"{torch.get_float32_matmul_precision()} {torch.backends.cudnn.allow_tf32} {half}"
        return hashlib.blake2b(f"{self._identity}\0{engine}\0".encode() + content, digest_size=20).hexdigest()

    def _bytes(self) -> int:
        return sum(embedding.features.nbytes for embedding in self._embeddings.values())
