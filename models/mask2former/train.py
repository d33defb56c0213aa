"""The `semantic` stage: Mask2Former trained by mmengine's Runner, with exact resume.

Batches are functions of their step and each step's random numbers are seeded by it, as in models/training/loop.py,
so a run that is killed and resumed ends in the bits of one that was not (on a CPU; never run on a GPU).
"""

from __future__ import annotations

import itertools
import math
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.distributed as dist
from torch import nn

from models.errors import BenchError
from models.mask2former.backbone import STRIDES
from models.mask2former.resume import KEPT, begin, load_weights, steps_of
from models.training import loop
from models.training.loop import Batches
from models.training.optimizers import POLY_POWER
from models.training.prefetch import read_ahead
from models.training.recipes import SemanticRecipe
from models.vitdet.pyramid import LEVELS

BACKBONE_FIXED = (
    "backbone.pos_embed",
    *(f".{norm}.{entry}" for norm in ("norm1", "norm2") for entry in ("weight", "bias")),
    "backbone.pyramid.levels.p2.0.1.",
    *(f"backbone.pyramid.levels.{level}.{part}.1." for level in LEVELS[: len(STRIDES)] for part in (1, 2)),
)
"""Parts of the names of the backbone's norms and positions. The longest part that is in a name decides in mmengine, and
is all that counts for it: "backbone" would overrule what is said of norms, so that all of these are longer."""
_RUNNERS = itertools.count()
"""mmengine keeps what it logs by the name of the experiment; two in one process must not share it."""


def train_semantic(
    network: nn.Module,
    batches: Batches,
    recipe: SemanticRecipe,
    out: Path,
    *,
    advance: Callable[[int], None] = lambda steps: None,
    workers: int = 0,
) -> nn.Module:
    """Train a Mask2Former to the end of its recipe, resuming from the newest checkpoint in `out`.

    Writes `log.jsonl` as the other stages do, and mmengine's checkpoints `iter_N.pth`.

    Args:
        network: of `models.mask2former.build`, with its pretrained backbone; changed in place.
        batches: {"images": uint8 [B, 3, S, S] RGB, "classes": uint8 [B, S, S], 255 ignored} by number; step s of
            process r of n takes number n s + r.
        recipe: optimiser, schedule, seed.
        out: folder of the run.
        advance: told of steps as they are done; for a progress bar.
        workers: processes that read ahead.

    Under torchrun, with torch's process group made before, gradients are averaged over all processes.

    Raises:
        BenchError: if the loss is not finite, or `out` is a run of another recipe.
    """
    from mmengine.runner import Runner

    if recipe.accumulate != 1:
        raise BenchError(f"the semantic stage accumulates no gradients, got --accumulate {recipe.accumulate}: use 1")
    start = begin(recipe, out)
    if steps_of(start) >= recipe.steps:
        load_weights(network, out)
        return network.eval()
    rank, processes = (dist.get_rank(), dist.get_world_size()) if dist.is_initialized() else (0, 1)
    runner = Runner(
        model=network,
        work_dir=str(out),
        train_dataloader=_Data(batches, recipe.steps, workers, rank, processes),  # type: ignore[arg-type]
        train_cfg={"type": _loop(out), "max_iters": recipe.steps},
        optim_wrapper=optimizer_config(recipe),
        param_scheduler=_schedule(recipe),
        default_hooks=_hooks(recipe),
        custom_hooks=[_step_hook(recipe, out, advance)],
        load_from=str(start) if start else None,
        resume=start is not None,
        launcher="pytorch" if processes > 1 else "none",
        randomness={"seed": recipe.seed},
        log_level="ERROR",
        default_scope="mmseg",
        experiment_name=f"{out.name}-{next(_RUNNERS)}",
        visualizer={"type": "mmengine.Visualizer", "vis_backends": None},
        cfg=None if torch.cuda.is_available() else {"model_wrapper_cfg": _ON_CPU},
    )
    runner.train()
    return network.eval()


_ON_CPU = {"type": "MMDistributedDataParallel", "device_ids": None}
"""mmengine's default names a GPU."""


class _Data:
    """Batches where the Runner expects torch's DataLoader; steps are read by the loop."""

    def __init__(self, batches: Batches, steps: int, workers: int, rank: int, processes: int) -> None:
        self.dataset, self.steps, self.workers = batches, steps, workers
        self.rank, self.processes = rank, processes

    def numbers(self, first: int) -> range:
        """Return the numbers of this process' batches from step `first` on."""
        return range(first * self.processes + self.rank, self.steps * self.processes, self.processes)

    def __len__(self) -> int:
        return self.steps

    def __iter__(self) -> Any:
        return iter(())


def _loop(out: Path) -> type:
    """Return mmengine's iteration loop over batches that are functions of the step.

    Its own would read all batches of the steps done before a resume, days of reading for the paper's recipe.
    """
    from mmengine.runner import IterBasedTrainLoop

    class StepLoop(IterBasedTrainLoop):  # type: ignore[misc]
        """Runs the steps that are left."""

        def run(self) -> nn.Module:
            """Train to the last step."""
            data: _Data = self.dataloader
            self.runner.call_hook("before_train")
            self.runner.call_hook("before_train_epoch")
            self.runner.model.train()
            for batch in read_ahead(data.dataset.__getitem__, data.numbers(self._iter), workers=data.workers):
                try:
                    self.run_iter(as_samples(batch))
                except ValueError as error:  # of SciPy's, that matches queries with masks before the loss is known
                    if "invalid numeric entries" not in str(error):
                        raise
                    raise diverged(self._iter, out) from error
            self.runner.call_hook("after_train_epoch")
            self.runner.call_hook("after_train")
            return self.runner.model

    return StepLoop


def as_samples(batch: Any) -> dict[str, Any]:
    """Return a batch as mmsegmentation's data preprocessor takes it."""
    from mmengine.structures import PixelData
    from mmseg.structures import SegDataSample

    samples = []
    for classes in batch["classes"]:
        size = tuple(classes.shape)
        sample = SegDataSample(metainfo={"img_shape": size, "ori_shape": size})
        sample.gt_sem_seg = PixelData(data=torch.from_numpy(np.ascontiguousarray(classes)).long()[None])
        samples.append(sample)
    images = [torch.from_numpy(np.ascontiguousarray(image)) for image in batch["images"]]
    return {"inputs": images, "data_samples": samples}


def optimizer_config(recipe: SemanticRecipe) -> dict[str, Any]:
    """Return the configuration of mmengine's optimiser wrapper (section 4.2: AdamW).

    Norms, positions and the learned queries do not decay, as in Mask2Former's own code; those of the backbone may after
    all, and its ViT and pyramid learn at a rate of their own.
    """
    backbone = {"lr_mult": recipe.backbone_multiplier, "decay_mult": 1.0}
    fixed = () if recipe.backbone_norms_decay else BACKBONE_FIXED
    embedding = {"lr_mult": 1.0, "decay_mult": 0.0}
    wrapper = {"type": "OptimWrapper"}
    if recipe.precision != "no":
        wrapper = {"type": "AmpOptimWrapper", "dtype": {"bf16": "bfloat16", "fp16": "float16"}[recipe.precision]}
    rates = {"lr": recipe.learning_rate, "weight_decay": recipe.weight_decay}
    return {
        **wrapper,
        "optimizer": {"type": "AdamW", **rates, "betas": (0.9, 0.999)},
        "clip_grad": None if recipe.clip_norm is None else {"max_norm": recipe.clip_norm, "norm_type": 2},
        "paramwise_cfg": {
            "custom_keys": {
                "backbone": backbone,
                **{key: {**backbone, "decay_mult": 0.0} for key in fixed},
                **dict.fromkeys(("query_embed", "query_feat", "level_embed"), embedding),
            },
            "norm_decay_mult": 0.0,
        },
    }


def _schedule(recipe: SemanticRecipe) -> list[dict[str, Any]]:
    """Return mmengine's schedules: linear warm-up, then polynomial decay to zero."""
    first = recipe.warmup_steps
    decay = {
        "type": "PolyLR",
        "eta_min": 0,
        "power": POLY_POWER,
        "begin": first,
        "end": recipe.steps,
        "by_epoch": False,
    }
    if first < 2:
        return [decay]
    return [{"type": "LinearLR", "start_factor": 1 / first, "begin": 0, "end": first, "by_epoch": False}, decay]


def _hooks(recipe: SemanticRecipe) -> dict[str, Any]:
    """Return mmengine's default hooks; None leaves one out."""
    checkpoint = {
        "type": "CheckpointHook",
        "by_epoch": False,
        "interval": recipe.checkpoint_every,
        "max_keep_ckpts": KEPT,
        "save_last": True,
    }
    return {"logger": None, "sampler_seed": None, "checkpoint": checkpoint}


def _step_hook(recipe: SemanticRecipe, out: Path, advance: Callable[[int], None]) -> Any:
    """Return the hook that seeds every step, and logs and checks what came of it."""
    from mmengine.dist import get_rank
    from mmengine.hooks import Hook

    class StepHook(Hook):  # type: ignore[misc]
        """Seeds, logs, checks."""

        def before_train(self, runner: Any) -> None:
            self.log = loop.StepLog(out, runner.iter) if get_rank() == 0 else None

        def before_train_iter(self, runner: Any, batch_idx: int, data_batch: Any = None) -> None:
            seed_all((recipe.seed, 4, batch_idx, get_rank()))

        def before_save_checkpoint(self, runner: Any, checkpoint: dict[str, Any]) -> None:
            # Objects that torch does not load without running code; what was logged is in log.jsonl.
            checkpoint["message_hub"]["log_scalars"] = {}
            checkpoint["message_hub"]["runtime_info"].pop("eta", None)

        def after_load_checkpoint(self, runner: Any, checkpoint: dict[str, Any]) -> None:
            # mmengine loads all of it onto the GPU, where AdamW would wait for every parameter's count of steps.
            for state in checkpoint.get("optimizer", {}).get("state", {}).values():
                state["step"] = state["step"].cpu()

        def after_train_iter(self, runner: Any, batch_idx: int, data_batch: Any = None, outputs: Any = None) -> None:
            advance(1)
            named = {name: value.detach().double() for name, value in outputs.items() if name in LOGGED}
            losses = dict(zip(named, torch.stack(list(named.values())).tolist(), strict=True))  # one wait for a GPU
            if not math.isfinite(losses["loss"]):
                raise diverged(batch_idx, out)
            if self.log and (batch_idx % loop.LOG_EVERY == 0 or batch_idx == recipe.steps - 1):
                rate = runner.optim_wrapper.get_lr()["base_lr"][0]
                self.log.write(batch_idx, losses, float(rate))

    return StepHook()


def diverged(step: int, out: Path) -> BenchError:
    """Return the error for a loss that is NaN or infinite."""
    return BenchError(f"the loss of step {step} in {out} is not finite: lower the learning rate, or check the data")


LOGGED = ("loss", "decode.loss_cls", "decode.loss_mask", "decode.loss_dice")
"""The sum that is minimised, and the last layer's parts of it."""


def seed_all(name: tuple[int, ...]) -> None:
    """Seed the global generators of Python, numpy and torch, which mmdet draws points and losses from."""
    first, second, third = np.random.SeedSequence(name).generate_state(3).tolist()
    random.seed(first)
    np.random.seed(second)  # noqa: NPY002
    torch.manual_seed(third)
