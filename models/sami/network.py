"""The masked autoencoder: encode what is visible, decode what is not, put both in order, project to the target."""

from __future__ import annotations

from typing import Literal, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from models.errors import BenchError
from models.sami.decoder import DecoderBlock
from models.sami.encoder import NORM_EPS, ViTEncoder, start
from models.sami.positions import positions_with_class


class Masking(NamedTuple):
    """Which patches are visible."""

    visible: Tensor
    """[B, V] numbers of the visible patches, in the order the encoder sees them."""
    masked: Tensor
    """[B, N - V] numbers of the masked patches."""

    @property
    def order(self) -> Tensor:
        """[B, N]: where in cat(visible, masked) each patch stands."""
        return torch.cat([self.visible, self.masked], 1).argsort(1)

    @property
    def mask(self) -> Tensor:
        """[B, N], 1 for masked patches."""
        return (self.order >= self.visible.shape[1]).float()


def mask_patches(noise: Tensor, mask_ratio: float) -> Masking:
    """Hide the patches with the largest noise; the order of the others is the order of their noise, as in MAE.

    Args:
        noise: [B, N], uniform and independent for every patch.
        mask_ratio: share of the patches that are hidden, over 0 and under 1.
    """
    count = int(noise.shape[1] * (1 - mask_ratio))
    if not 0 < count < noise.shape[1]:
        raise BenchError(f"mask ratio {mask_ratio} leaves {count} of {noise.shape[1]} patches: take one inside 0..1")
    order = noise.argsort(1)
    return Masking(order[:, :count], order[:, count:])


class MaskedAutoencoder(nn.Module):
    """SAMI (section 3.2) and, with `decoder="all"` and pixels as target, MAE under its public parameter names.

    Args:
        encoder: the ViT that is pretrained.
        target_dim: width of what is reconstructed: 256 for SAM's features, 768 for 16 x 16 RGB pixels.
        decoder: "masked": only masked tokens are queries, visible ones bypass the decoder; "all": every token is
            decoded by self-attention.
        decoder_dim: width D of the decoder.
        decoder_depth: its blocks.
        decoder_heads: its attention heads.
    """

    def __init__(
        self,
        encoder: ViTEncoder,
        *,
        target_dim: int,
        decoder: Literal["masked", "all"] = "masked",
        decoder_dim: int = 512,
        decoder_depth: int = 8,
        decoder_heads: int = 16,
    ) -> None:
        super().__init__()
        self.encoder, self.decoder = encoder, decoder
        self.decoder_embed = nn.Linear(encoder.embed_dim, decoder_dim)
        self.mask_token = nn.Parameter(torch.zeros(1, 1, decoder_dim))
        grid = round(encoder.tokens**0.5)
        self.decoder_pos_embed = nn.Parameter(positions_with_class(grid, decoder_dim), requires_grad=False)
        self.decoder_blocks = nn.ModuleList(DecoderBlock(decoder_dim, decoder_heads) for _ in range(decoder_depth))
        self.decoder_norm = nn.LayerNorm(decoder_dim, eps=NORM_EPS)
        self.decoder_pred = nn.Linear(decoder_dim, target_dim)
        for module in (self.decoder_embed, self.decoder_blocks, self.decoder_pred):
            module.apply(start)
        nn.init.normal_(self.mask_token, std=0.02)

    def forward(self, pixels: Tensor, masking: Masking) -> Tensor:
        """Return the reconstruction [B, N, target_dim] of every patch, in the order of the image.

        Args:
            pixels: [B, 3, S, S] normalised.
            masking: see `mask_patches`.
        """
        seen = self.decoder_embed(self.encoder(pixels, masking.visible))  # [B, 1 + V, D], class token first
        decode = self._decode_masked if self.decoder == "masked" else self._decode_all
        tokens = decode(seen, masking)  # [B, N, D], visible first
        order = masking.order[..., None].expand(-1, -1, tokens.shape[2])
        return self.decoder_pred(tokens.gather(1, order))  # type: ignore[no-any-return]

    def _decode_masked(self, seen: Tensor, masking: Masking) -> Tensor:
        """Reconstruct the masked tokens from the visible ones, which stay what the encoder made of them."""
        context = seen + self._positions(masking.visible, with_class=True)
        queries = self.mask_token + self._positions(masking.masked)  # [B, N - V, D]
        for block in self.decoder_blocks:
            queries = block(queries, context)
        return torch.cat([seen[:, 1:], self.decoder_norm(queries)], 1)

    def _decode_all(self, seen: Tensor, masking: Masking) -> Tensor:
        """Update every token, the class token among them, by self-attention."""
        visible = seen + self._positions(masking.visible, with_class=True)
        tokens = torch.cat([visible, self.mask_token + self._positions(masking.masked)], 1)  # [B, 1 + N, D]
        nothing = tokens[:, :0]
        for block in self.decoder_blocks:
            tokens = block(tokens, nothing)
        return self.decoder_norm(tokens)[:, 1:]  # type: ignore[no-any-return]

    def _positions(self, patches: Tensor, *, with_class: bool = False) -> Tensor:
        """Return the decoder's positions of patches [B, L], the class token's before them if wanted."""
        chosen = self.decoder_pos_embed[0, 1:][patches]  # [B, L, D]
        if not with_class:
            return chosen
        return torch.cat([self.decoder_pos_embed[:, :1].expand(len(patches), -1, -1), chosen], 1)


def reconstruction_loss(
    predicted: Tensor,
    target: Tensor,
    *,
    loss: Literal["mse", "cosine"] = "mse",
    mask: Tensor | None = None,
) -> Tensor:
    """Return the mean over tokens of a token's squared error (equation 1, mean over channels) or 1 - cosine.

    Args:
        predicted: [B, N, C].
        target: [B, N, C].
        loss: which error.
        mask: [B, N] of 0 and 1, the tokens that count; None for all N, as equation 1 has it.
    """
    if loss == "mse":
        errors = F.mse_loss(predicted, target, reduction="none").mean(-1)  # [B, N]
    else:
        errors = 1 - F.cosine_similarity(predicted, target, dim=-1)
    return errors.mean() if mask is None else (errors * mask).sum() / mask.sum()
