"""How good an encoder's features are without finetuning: neighbours and a linear classifier, on frozen features.

A quick look, never a number of Table 1, which finetunes.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from scipy.optimize import minimize
from torch import Tensor, nn

from models import checkpoints
from models.cards import ModelCard
from models.classifier.network import ANSWERS, Photos, to_input
from models.errors import BenchError
from models.sami.encoder import ViTEncoder

NEIGHBOURS = 20
"""DINO's k (Caron et al. 2021, section 4.1)."""
TEMPERATURE = 0.07
"""DINO's temperature."""
PENALTY = 1e-3
"""Weight of half the squared length of the linear probe's weights, on standardised features; our choice."""
RIDGE = 1e-3
"""Weight of the squared linear map to a teacher's features, on tokens of unit variance; our choice."""
_SIMILARITIES_AT_ONCE = 1 << 26
"""Cosines held at once (512 MiB)."""
_HEADS = {56: 4, 84: 4, 192: 3, 384: 6, 768: 12, 1024: 16}
"""Attention heads by width: the micro encoders, ViT-Ti, -S, -B and -L. A state dict does not tell them."""
_NOT_THE_ENCODER = ("decoder_", "mask_token", "head")
"""How entries of autoencoders and classifiers begin that an encoder has not."""


def load_encoder(path: Path, *, heads: int | None = None) -> ViTEncoder:
    """Load the encoder of a pretraining: its state dict alone, a whole autoencoder's, or a public MAE checkpoint.

    Args:
        path: safetensors, or a torch file of tensors alone.
        heads: attention heads; None for those that encoders of this width usually have.

    Raises:
        BenchError: if the file is missing, damaged or holds no ViT, or the number of heads is not known.
    """
    if not path.is_file():
        raise BenchError(f"there is no checkpoint '{path}': check the path")
    card = ModelCard(path.stem, None, "paper", "", None)
    state = checkpoints.read_state_dict(path, card)
    if any(name.startswith("encoder.") for name in state):
        state = {name.removeprefix("encoder."): v for name, v in state.items() if name.startswith("encoder.")}
    state = {name: value for name, value in state.items() if not name.startswith(_NOT_THE_ENCODER)}
    if not {"pos_embed", "patch_embed.proj.weight", "blocks.0.mlp.fc1.weight"} <= state.keys():
        raise BenchError(f"'{path}' holds no ViT encoder: pass the weights of a pretraining (`bench train sami-ti`)")
    width, patch = state["patch_embed.proj.weight"].shape[0], state["patch_embed.proj.weight"].shape[-1]
    if heads is None and width not in _HEADS:
        raise BenchError(f"how many attention heads an encoder {width} wide has is not known: pass --heads")
    encoder = ViTEncoder(
        img_size=round((state["pos_embed"].shape[1] - 1) ** 0.5) * patch,
        patch_size=patch,
        embed_dim=width,
        depth=len({name.split(".")[1] for name in state if name.startswith("blocks.")}),
        num_heads=heads or _HEADS[width],
        mlp_ratio=len(state["blocks.0.mlp.fc1.weight"]) / width,
    )
    checkpoints.fill(encoder, state, card=card, path=path)
    return encoder


@torch.inference_mode()
def frozen_features(
    encoder: ViTEncoder,
    photos: Photos,
    *,
    pool: Literal["avg", "token"] = "avg",
    batch: int = 64,
    device: str | torch.device = "cpu",
    advance: Callable[[int], None] = lambda photos: None,
) -> np.ndarray:
    """Return one feature a photo, float32 [N, C].

    Args:
        encoder: put into evaluation mode.
        photos: of any size.
        pool: mean of the patch tokens, or the class token.
        batch: photos in one forward pass.
        device: where the encoder is moved to.
        advance: told how many photos were done.
    """
    encoder.eval().to(device)
    features = []
    for first in range(0, len(photos), batch):
        some = [photos[index] for index in range(first, min(first + batch, len(photos)))]
        tokens: Tensor = encoder(to_input(some, encoder.img_size).to(device))
        pooled = tokens[:, 1:].mean(1) if pool == "avg" else tokens[:, 0]
        features.append(pooled.float().cpu().numpy())
        advance(len(some))
    return np.concatenate(features)


def knn_probe(
    train_features: np.ndarray,
    train_labels: np.ndarray,
    val_features: np.ndarray,
    *,
    k: int = NEIGHBOURS,
    temperature: float = TEMPERATURE,
) -> np.ndarray:
    """Let the k nearest training images vote by exp(cosine / temperature), as DINO does; int64 [M, 5].

    Classes without a vote follow the others in their own order; -1 where there are fewer than five classes.

    Args:
        train_features: [N, C].
        train_labels: int64 [N].
        val_features: [M, C].
        k: voters, all N if there are fewer.
        temperature: of the votes.

    Raises:
        BenchError: if a feature is NaN or infinite.
    """
    _check(train_features, train_labels, val_features)
    known = nn.functional.normalize(torch.from_numpy(train_features).double(), dim=1)
    asked = nn.functional.normalize(torch.from_numpy(val_features).double(), dim=1)
    labels = torch.from_numpy(train_labels)
    votes = torch.zeros(len(asked), int(labels.max()) + 1, dtype=torch.float64)
    rows = max(1, _SIMILARITIES_AT_ONCE // len(known))
    for first in range(0, len(asked), rows):
        cosine, nearest = (asked[first : first + rows] @ known.T).topk(min(k, len(known)), dim=1)
        votes[first : first + rows].scatter_add_(1, labels[nearest], (cosine / temperature).exp())
    return _answers(votes.numpy())


def linear_probe(
    train_features: np.ndarray,
    train_labels: np.ndarray,
    val_features: np.ndarray,
    *,
    penalty: float = PENALTY,
    iterations: int = 500,
) -> np.ndarray:
    """Answer by multinomial logistic regression on standardised features (scipy's L-BFGS, float64); int64 [M, 5].

    Args:
        train_features: [N, C]; in memory as float64, so this is for tens of thousands of images.
        train_labels: int64 [N].
        val_features: [M, C].
        penalty: of the weights, not of the biases; the loss is the mean cross entropy.
        iterations: at most.

    Raises:
        BenchError: if a feature is NaN or infinite.
    """
    _check(train_features, train_labels, val_features)
    mean, deviation = train_features.mean(0, dtype=np.float64), train_features.std(0, dtype=np.float64)
    scale = np.where(deviation > 0, deviation, 1.0)
    known, asked = (np.column_stack([(f - mean) / scale, np.ones(len(f))]) for f in (train_features, val_features))
    weights = fit_softmax(known, train_labels, penalty=penalty, iterations=iterations)
    return _answers(asked @ weights)


@torch.inference_mode()
def explained_variance(
    encoder: ViTEncoder,
    target: Callable[[Tensor], Tensor],
    known: Photos,
    asked: Photos,
    *,
    batch: int = 32,
    ridge: float = RIDGE,
    advance: Callable[[int], None] = lambda photos: None,
) -> np.ndarray:
    """Return each photo's share of the variance of a teacher's features that frozen tokens explain, float64 [M].

    A linear map from the encoder's patch tokens to the teacher's features of the same patches is fitted to photos and
    asked about others. The mean over photos is R2, 1 where all is explained and 0 where a patch's place alone says as
    much: features are counted from their means over the known photos, place by place.

    Args:
        encoder: put into evaluation mode; sees all patches.
        target: of normalised pixels [B, 3, S, S], features [B, N, D]; on the encoder's device.
        known: photos to fit.
        asked: held-out photos.
        batch: photos in one forward pass.
        ridge: weight of the squared map, on features of unit variance.
        advance: told how many photos were done.

    Raises:
        BenchError: if there are no photos, or a feature is NaN or infinite.
    """
    if not len(known) or not len(asked):
        raise BenchError("a probe needs photos to learn from and held-out ones: raise their numbers")
    encoder.eval()
    tokens, features = _tokens(encoder, target, known, batch, advance)  # [K, N, C], [K, N, D]
    means = tokens.mean(0), features.mean(0)
    x, y = ((own - mean).flatten(0, 1) for own, mean in zip((tokens, features), means, strict=True))
    scale = x.std(0).clamp(min=1e-12)
    x = x / scale
    weights = torch.linalg.solve(x.T @ x / len(x) + ridge * torch.eye(x.shape[1], dtype=x.dtype), x.T @ y / len(x))
    del x, y
    tokens, features = _tokens(encoder, target, asked, batch, advance)
    wanted = features - means[1]
    error = wanted - (tokens - means[0]) / scale @ weights
    squares = [part.square().sum((1, 2)) for part in (error, wanted)]  # [M] each
    shares: np.ndarray = (1 - squares[0] / squares[1].mean()).numpy()
    return shares


def _tokens(
    encoder: ViTEncoder, target: Callable[[Tensor], Tensor], photos: Photos, batch: int, advance: Callable[[int], None]
) -> tuple[Tensor, Tensor]:
    """Return patch tokens [P, N, C] and a teacher's features [P, N, D] of photos, float64.

    Raises:
        BenchError: if one is NaN or infinite.
    """
    device, found = next(encoder.parameters()).device, []
    for first in range(0, len(photos), batch):
        some = [photos[index] for index in range(first, min(first + batch, len(photos)))]
        pixels = to_input(some, encoder.img_size).to(device)
        found.append([part.double().cpu() for part in (encoder(pixels)[:, 1:], target(pixels))])
        advance(len(some))
    tokens, features = (torch.cat(parts) for parts in zip(*found, strict=True))
    if not (tokens.isfinite().all() and features.isfinite().all()):
        raise BenchError("features of the encoder or of its teacher are NaN or infinite: a training diverged")
    return tokens, features


def fit_softmax(inputs: np.ndarray, labels: np.ndarray, *, penalty: float, iterations: int = 500) -> np.ndarray:
    """Return weights [C, classes] of least mean cross entropy plus penalty; the last row, the biases', is free.

    Args:
        inputs: float64 [N, C], the last column ones.
        labels: int64 [N].
        penalty: weight of half the squared weights.
        iterations: at most.
    """
    shape = inputs.shape[1], int(labels.max()) + 1
    hot = np.eye(shape[1])[labels]  # [N, classes]
    penalised = np.append(np.full(shape[0] - 1, penalty), 0.0)[:, None]

    def loss(flat: np.ndarray) -> tuple[float, np.ndarray]:
        weights = flat.reshape(shape)
        logits = inputs @ weights
        logits -= logits.max(1, keepdims=True)
        log_sums = np.log(np.exp(logits).sum(1, keepdims=True))
        chances = np.exp(logits - log_sums)
        value = (log_sums - (logits * hot).sum(1, keepdims=True)).mean() + 0.5 * (penalised * weights**2).sum()
        gradient = inputs.T @ (chances - hot) / len(inputs) + penalised * weights
        return float(value), gradient.ravel()

    found = minimize(loss, np.zeros(shape).ravel(), jac=True, method="L-BFGS-B", options={"maxiter": iterations})
    weights: np.ndarray = found.x.reshape(shape)
    return weights


def _check(train_features: np.ndarray, train_labels: np.ndarray, val_features: np.ndarray) -> None:
    """Raise if features cannot be probed."""
    if len(train_features) != len(train_labels) or not len(train_labels):
        raise BenchError(
            f"a probe needs one label for each of its training images, there are {len(train_labels)} labels and "
            f"{len(train_features)} images"
        )
    if not (np.isfinite(train_features).all() and np.isfinite(val_features).all()):
        raise BenchError("the encoder's features have NaN or infinite values: its training diverged")


def _answers(scores: np.ndarray) -> np.ndarray:
    """Return the five classes of the largest scores [M, classes], the lower number first among equals."""
    order = np.argsort(-scores, axis=1, kind="stable")[:, :ANSWERS]
    return np.pad(order, ((0, 0), (0, ANSWERS - order.shape[1])), constant_values=-1)
