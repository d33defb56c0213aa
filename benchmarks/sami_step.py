"""What the masked-query decoder saves: ratios of times measured in turn. Run `python benchmarks/sami_step.py`."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Literal

import torch
import tyro
from rich.console import Console
from rich.table import Table
from timm.models.vision_transformer import Block, VisionTransformer
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from bench.progress import progress
from bench.provenance import provenance
from models.sami.build import SIZES, masked_autoencoder
from models.sami.network import MaskedAutoencoder, mask_patches, reconstruction_loss
from models.training.recipes import SAMI_PAPER

TARGET_DIM = 256
"""Width of SAM's features after the neck."""

Step = Callable[[], Tensor]


def main(size: Literal["ti", "s", "b"] = "ti", batch: int = 32, repeats: int = 5, out: Path | None = None) -> None:
    """Time a SAMI training step against the same step with all tokens decoded, and against timm's blocks.

    Student only: forward, loss, backward and AdamW at 224 px, mask ratio 0.75, fp32 on the CPU. Steps take turns, so
    that what else the machine does hits all alike; the median counts. FLOPs are torch's count, forward and backward.

    Keys and values are made of all tokens either way and the encoder works the same, so that decoding all tokens takes
    no more than 1.25 times the FLOPs (ViT-Tiny).

    Args:
        size: Of the encoder: ViT-Tiny, -Small or -Base.
        batch: Images a step.
        repeats: Timed steps of each kind.
        out: A JSON file for the figures and the machine.
    """
    torch.manual_seed(0)
    steps: dict[str, Step] = {
        "SAMI, masked tokens decoded": _sami_step(size, "masked", batch),
        "SAMI, all tokens decoded": _sami_step(size, "all", batch),
    }
    flops = {name: _flops(step) for name, step in steps.items()}
    first = next(iter(steps))
    steps["timm, visible tokens, same FLOPs"] = timm = _timm_step(size, batch, flops[first])
    flops["timm, visible tokens, same FLOPs"] = _flops(timm)
    seconds = _in_turn(steps, repeats)
    table = Table(title=f"One SAMI step, ViT-{size.title()}, {batch} images, {torch.get_num_threads()} threads")
    for heading in ("step", "median ms", "fastest ms", "GFLOP", "GFLOP/s", f"time over '{first}'"):
        table.add_column(heading, justify="left" if heading == "step" else "right")
    figures = []
    for name, times in seconds.items():
        middle = times[len(times) // 2]
        ratio = middle / seconds[first][len(times) // 2]
        gflop = flops[name] / 1e9
        numbers = (1e3 * middle, 1e3 * times[0], gflop, gflop / middle)
        table.add_row(name, *(f"{number:,.0f}" for number in numbers), f"{ratio:.2f}")
        figures.append({"way": name, "ms": 1e3 * middle, "gflop": gflop, "time_ratio": ratio})
    Console().print(table)
    if out is not None:
        out.write_text(json.dumps({"figures": figures, "made_with": provenance()}, indent=1) + "\n")


def _sami_step(size: str, decoder: Literal["masked", "all"], batch: int) -> Step:
    network: MaskedAutoencoder = masked_autoencoder(size, decoder=decoder, target_dim=TARGET_DIM)
    pixels, target = torch.randn(batch, 3, 224, 224), torch.randn(batch, network.encoder.tokens, TARGET_DIM)
    masking = mask_patches(torch.rand(batch, network.encoder.tokens), SAMI_PAPER.mask_ratio)
    return _step(network, lambda: reconstruction_loss(network(pixels, masking), target))


def _timm_step(size: str, batch: int, flops: float) -> Step:
    """Return a step of timm's own ViT on a quarter of the patches and timm's blocks as decoder, of as many FLOPs."""
    width, depth = 512, 8
    encoder = VisionTransformer(patch_drop_rate=SAMI_PAPER.mask_ratio, num_classes=0, **SIZES[size]).train()
    embed = nn.Linear(SIZES[size]["embed_dim"], width)
    blocks = nn.Sequential(*(Block(width, 16, qkv_bias=True) for _ in range(depth)))
    head = nn.Linear(width, TARGET_DIM)
    network = nn.ModuleList([encoder, embed, blocks, head])
    pixels = torch.randn(batch, 3, 224, 224)

    def with_tokens(count: int) -> Step:
        queries = torch.randn(batch, count, width)

        def loss() -> Tensor:
            seen = embed(encoder.forward_features(pixels))[:, :count]  # [B, 1 + V, D]
            tokens = torch.cat([seen, queries[:, seen.shape[1] :]], 1)
            return head(blocks(tokens)).square().mean()  # type: ignore[no-any-return]

        return _step(network, loss)

    few, many = 100, 200
    at_few, at_many = _flops(with_tokens(few)), _flops(with_tokens(many))
    return with_tokens(round(few + (many - few) * (flops - at_few) / (at_many - at_few)))


def _step(network: nn.Module, loss: Callable[[], Tensor]) -> Step:
    optimizer = torch.optim.AdamW(network.parameters(), lr=1e-4)

    def step() -> Tensor:
        value = loss()
        value.backward()
        optimizer.step()
        optimizer.zero_grad()
        return value

    return step


def _flops(step: Step) -> float:
    with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:  # fused kernels go uncounted
        step()
    return float(counter.get_total_flops())


def _in_turn(steps: dict[str, Step], repeats: int) -> dict[str, list[float]]:
    """Return the sorted seconds of each step, run in turn."""
    seconds: dict[str, list[float]] = {name: [] for name in steps}
    with progress("timing", total=repeats * len(steps), unit="steps") as advance:
        for _ in range(repeats):
            for name, step in steps.items():
                started = time.perf_counter()
                step()
                seconds[name].append(time.perf_counter() - started)
                advance(1)
    return {name: sorted(times) for name, times in seconds.items()}


if __name__ == "__main__":
    tyro.cli(main)
