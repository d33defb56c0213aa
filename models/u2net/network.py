"""U²-Net: a U of stages, each of which is a U itself (Qin et al. 2020, arXiv 2005.09007, figure 5).

Names of parameters are those of the published checkpoints u2net.pth and u2netp.pth.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

HEIGHTS = (7, 6, 5, 4)
"""Levels of the residual U in each of the first four stages; the two stages below them never pool."""
FLAT_DILATIONS = (1, 2, 4, 8)
"""Dilations of those two stages, level by level."""
MAPS = 7
"""Maps in one answer: the fused one, then one of each decoder stage and of the deepest stage."""


class Widths(NamedTuple):
    """Channels of one stage."""

    input: int
    middle: int
    output: int


class ConvNormRelu(nn.Module):
    """A dilated 3 x 3 convolution that keeps the size, batch norm, ReLU."""

    def __init__(self, input_width: int, output_width: int, dilation: int = 1) -> None:
        super().__init__()
        self.conv_s1 = nn.Conv2d(input_width, output_width, 3, padding=dilation, dilation=dilation)
        self.bn_s1 = nn.BatchNorm2d(output_width)

    def forward(self, x: Tensor) -> Tensor:
        """Turn [B, C, h, w] into [B, D, h, w]."""
        normed: Tensor = self.bn_s1(self.conv_s1(x))
        return normed.relu_()


class ResidualU(nn.Module):
    """A U-Net with a convolution in front, whose output is added to that of the U (RSU-L, and RSU-4F).

    Args:
        widths: channels in, inside the U and out.
        dilations: of each level on the way down. Where all but the last are 1, levels are half as large as those
            above them, but for the last, which has the size of the one before it; else all have the same size.
    """

    def __init__(self, widths: Widths, dilations: Sequence[int]) -> None:
        super().__init__()
        self.levels, self.pools = len(dilations), set(dilations[:-1]) == {1}
        self.rebnconvin = ConvNormRelu(widths.input, widths.output)
        for level, dilation in enumerate(dilations, start=1):
            above = widths.output if level == 1 else widths.middle
            self.add_module(f"rebnconv{level}", ConvNormRelu(above, widths.middle, dilation))
        for level in range(self.levels - 1, 0, -1):
            output = widths.output if level == 1 else widths.middle
            self.add_module(f"rebnconv{level}d", ConvNormRelu(2 * widths.middle, output, dilations[level - 1]))

    def forward(self, x: Tensor) -> Tensor:
        """Turn [B, input, h, w] into [B, output, h, w]."""
        entered = self.rebnconvin(x)
        found = [self.get_submodule("rebnconv1")(entered)]
        for level in range(2, self.levels + 1):
            above = halved(found[-1]) if self.pools and level < self.levels else found[-1]
            found.append(self.get_submodule(f"rebnconv{level}")(above))
        below = found[-1]
        for level in range(self.levels - 1, 0, -1):
            beside = found[level - 1]
            below = self.get_submodule(f"rebnconv{level}d")(torch.cat([resized(below, beside), beside], 1))
        return below + entered


class U2Net(nn.Module):
    """Six stages down, five up, a map from each of the last six, and one that fuses these.

    Args:
        down: channels of the stages 1 to 6.
        up: channels of the stages 5d to 1d.
    """

    def __init__(self, down: Sequence[Widths], up: Sequence[Widths]) -> None:
        super().__init__()
        for stage, widths in enumerate(down, start=1):
            self.add_module(f"stage{stage}", ResidualU(widths, _dilations(stage)))
        for stage, widths in zip((5, 4, 3, 2, 1), up, strict=True):
            self.add_module(f"stage{stage}d", ResidualU(widths, _dilations(stage)))
        for side, widths in enumerate((*reversed(up), down[-1]), start=1):
            self.add_module(f"side{side}", nn.Conv2d(widths.output, 1, 3, padding=1))
        self.outconv = nn.Conv2d(MAPS - 1, 1, 1)

    def forward(self, pixels: Tensor) -> Tensor:
        """Return the logits of all maps, the fused one (d0 of the paper's figure) first.

        Args:
            pixels: [B, 3, H, W], see `models.u2net.maps.network_input`.

        Returns:
            [B, 7, H, W].
        """
        found = [self.get_submodule("stage1")(pixels)]
        for stage in range(2, 7):
            found.append(self.get_submodule(f"stage{stage}")(halved(found[-1])))
        decoded = [found[-1]]
        for stage in range(5, 0, -1):
            beside = found[stage - 1]
            joined = torch.cat([resized(decoded[-1], beside), beside], 1)
            decoded.append(self.get_submodule(f"stage{stage}d")(joined))
        sides = [self.get_submodule(f"side{side}")(x) for side, x in enumerate(reversed(decoded), start=1)]
        maps = torch.cat([resized(side, pixels) for side in sides], 1)  # [B, 6, H, W]
        return torch.cat([self.outconv(maps), maps], 1)


def halved(x: Tensor) -> Tensor:
    """Pool [B, C, h, w] by two, an odd last row or column included."""
    return F.max_pool2d(x, 2, stride=2, ceil_mode=True)


def resized(x: Tensor, like: Tensor) -> Tensor:
    """Resize [B, C, h, w] bilinearly to the height and width of another tensor."""
    if x.shape[2:] == like.shape[2:]:
        return x
    return F.interpolate(x, like.shape[2:], mode="bilinear", align_corners=False)


def _dilations(stage: int) -> tuple[int, ...]:
    """Return the dilations of a stage's levels; only the last one of a U that pools is dilated."""
    return FLAT_DILATIONS if stage > len(HEIGHTS) else (*(1,) * (HEIGHTS[stage - 1] - 1), 2)


def u2net() -> U2Net:
    """Build U²-Net, 44 M parameters."""
    down = [(3, 32, 64), (64, 32, 128), (128, 64, 256), (256, 128, 512), (512, 256, 512), (512, 256, 512)]
    up = [(1024, 256, 512), (1024, 128, 256), (512, 64, 128), (256, 32, 64), (128, 16, 64)]
    return U2Net([Widths(*stage) for stage in down], [Widths(*stage) for stage in up])


def u2netp(middle: int = 16, output: int = 64) -> U2Net:
    """Build U²-Net-p, 1.1 M parameters: all stages have the same few channels.

    Args:
        middle: channels inside the Us.
        output: channels of each stage's output.
    """
    first, later, up = Widths(3, middle, output), Widths(output, middle, output), Widths(2 * output, middle, output)
    return U2Net([first, *[later] * 5], [up] * 5)
