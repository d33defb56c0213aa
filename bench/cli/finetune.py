"""`bench finetune MODEL`: the second stage of sections 4.1 and 4.2, from a pretrained encoder."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated

import torch
import tyro
from accelerate import PartialState
from safetensors.torch import save_file

from bench.cli.finetunings import FINETUNINGS, Options
from bench.cli.pretrain import ENCODER
from bench.cli.pretrain_options import PRETRAININGS
from bench.cli.training_options import check, train_to_the_end
from models.cards import ModelCard
from models.checkpoints import read_state_dict, sha256_of
from models.errors import MissingData, unknown_name

PAPER = Options()


def finetune(model: tyro.conf.Positional[str], /, options: Annotated[Options, tyro.conf.arg(name="")] = PAPER) -> None:
    """Finetune a pretrained ViT as sections 4.1 and 4.2 say: to segment prompts, name photos, detect or parse scenes.

    Goes on from its newest checkpoint. `torchrun --nproc-per-node 8 -m bench finetune efficientsam-s` shares each step
    among eight GPUs. At the end writes <out>/<model>/weights.safetensors and finetune.json. `bench run table4
    --checkpoint efficientsam-s=FILE`, `table1 --checkpoint sami-s=FILE`, `table2 --checkpoint vitdet-sami-s=FILE` or
    `table3 --checkpoint mask2former-sami-s=FILE` measures the weights.

    Args:
        model: efficientsam-ti, efficientsam-s or sam-mae-ti (on SA-1B); sami-ti-classify, mae-b-classify, ... (on
            ImageNet); vitdet-sami-b, vitdet-deit-s, ... (on COCO); mask2former-sami-b, ... (on ADE20K).
        options: how.
    """
    if model not in FINETUNINGS:
        raise unknown_name("finetuning", model, FINETUNINGS)
    check(options)
    processes = PartialState(cpu=not torch.cuda.is_available())
    encoder = _encoder(model, options)
    state = read_state_dict(encoder, ModelCard(model, model, "paper", "", None))
    torch.manual_seed(options.seed)
    parts = FINETUNINGS[model].parts(model, options, state, processes)
    record = train_to_the_end(model, parts.run, parts.recipe, options, processes, parts.done)
    if record is None:
        return
    weights = options.out / model / "weights.safetensors"
    save_file({name: value.contiguous() for name, value in parts.network.state_dict().items()}, weights)
    facts = {"encoder_sha256": sha256_of(encoder), **parts.facts()}
    (weights.parent / "finetune.json").write_text(json.dumps({**record, **facts}, indent=1) + "\n")
    print(f"wrote {weights}", file=sys.stderr)


def _encoder(model: str, options: Options) -> Path:
    """Return the file of the encoder to start from.

    Raises:
        MissingData: if it is not there.
    """
    name = FINETUNINGS[model].encoder
    path = options.encoder or options.out / name / ENCODER
    if not path.is_file():
        way = f"run `bench pretrain {name}` first, or give --encoder" if name in PRETRAININGS else "give --encoder"
        raise MissingData(f"there is no encoder {path}: {way}")
    return path
