"""`bench train NAME`, `bench train --all micro`: train one model, or all of a group."""

from __future__ import annotations

from typing import Annotated

import tyro

from bench.training import all as group
from bench.training.options import Options
from bench.training.train import train as train_one
from models.errors import BenchError

AS_PUBLISHED = Options()


def train(
    name: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="[NAME]")] = "",
    /,
    together: Annotated[group.Group | None, tyro.conf.arg(name="all")] = None,
    options: Annotated[Options, tyro.conf.arg(name="")] = AS_PUBLISHED,
) -> None:
    """Train one model, with the paper's recipe or the micro one.

    Goes on from its newest checkpoint, and leaves a finished one alone. `torchrun --nproc-per-node 8 -m bench train
    efficientsam-s` shares the images of each step among eight GPUs; micro models are trained on as many threads as
    OMP_NUM_THREADS says. At the end writes <out>/<name>/weights.safetensors and .json (command, recipe, data, time,
    hash); of pretraining the encoder, under the names of MAE's and timm's ViTs. `bench run table4 --checkpoint
    efficientsam-s=FILE`, `table1 --checkpoint sami-s=FILE` and so on measure the weights. `--dry-run` prints the cost.

    Args:
        name: sami-ti, mae-b, ... (pretraining, section 3.2); efficientsam-ti, efficientsam-s or sam-mae-ti (on SA-1B);
            sami-ti-classify, ... (on ImageNet); vitdet-sami-b, ... (on COCO); mask2former-sami-b, ... (on ADE20K); all
            of these on dead leaves as sami-ti-micro, sami-ti-micro-classify, ...; sam-micro. A wrong name lists them.
        together: All of a group, two at a time: micro, the models whose weights are committed; or ablations, what
            leaves records alone (Tables 6 and 7, section 4.4, Figure 7, further seeds).
        options: how.
    """
    if bool(name) == (together is not None):
        raise BenchError("name one training, e.g. `bench train sami-ti`, or a group: --all micro or --all ablations")
    if name:
        train_one(name, options)
    elif together is not None:
        group.train_all(together, options)
