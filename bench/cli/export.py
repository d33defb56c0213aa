"""`bench export NAME`: a model as files that other programs run, and that the tables measure like the model."""

from __future__ import annotations

import importlib.util
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Literal

import tyro
from rich.console import Console
from rich.table import Table
from rich.text import Text

from bench.cli.as_json import AsJson, print_json
from bench.progress import progress
from models import zoo
from models.errors import BenchError, printable

PACKAGES = ("onnx", "onnxscript", "onnxruntime")


def export(
    model: tyro.conf.Positional[str],
    /,
    format: Literal["onnx"] = "onnx",
    int8: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False,
    checkpoint: Path | None = None,
    out: Path = Path("exports"),
    as_json: AsJson = False,
) -> None:
    """Write a model's encoder and decoder as ONNX files, with a json of what they were made from.

    They are asked the same as the model before they are kept: fp32 files give its masks. The pair is a model itself,
    onnx:ENCODER,DECODER, wherever a model's name is taken; name both, and tables show the paired difference:

        bench export efficientsam-ti --format onnx
        bench export efficientsam-ti --format onnx --int8
        bench run table4 --models efficientsam-ti onnx:E.int8.encoder.onnx,E.int8.decoder.onnx

    (with E = exports/efficientsam-ti; the whole command is printed in the end.)

    The encoder takes an image that is resized and normalised as the json says; the decoder takes any number of prompts
    with points in px of that input, and gives the single mask and the three candidates. There is no mask prompt. An
    encoder and a decoder of one model go together also if only one is int8.

    Args:
        model: A name of `bench list`, of the SAM family or an EfficientSAM.
        format: Of the files.
        int8: Weights of linear layers in 8 bits by onnxruntime's dynamic quantisation; convolutions stay float32.
        checkpoint: Your own weights for the model.
        out: Folder of the files; files of an earlier export of the model are replaced.
        as_json: Print what was written as JSON.
    """
    _require()
    from models.exports.export import check_exportable, export_onnx  # which need these packages

    card = zoo.card(model)
    check_exportable(card)
    segmenter = zoo.load(model, checkpoint=checkpoint)
    with progress(f"{model} to ONNX", total=2, unit="files") as advance:
        made = export_onnx(segmenter, card, out, precision="int8" if int8 else "fp32", advance=advance)
    if as_json:
        files = {role: str(path) for role, path in made.files.items()}
        print_json([{"files": files, "agreement": made.agreement._asdict(), "record": asdict(made.record)}])
        return
    table = Table("file", "size", box=None)
    for path in made.files.values():
        table.add_row(Text(printable(str(path))), f"{path.stat().st_size / 1e6:,.1f} MB")
    console = Console()
    console.print(table)
    spec = f"onnx:{made.files['encoder']},{made.files['decoder']}"
    agreed = made.agreement
    for line in (
        f"beside {model} on a synthetic image: mask IoU {agreed.iou:.4f}, {agreed.pixels:.3%} of pixels differ, logits "
        f"by at most {agreed.logits:.2g}",
        f"measure both: bench run table4 --models {model} {spec}",
    ):
        console.print(Text(printable(line)), soft_wrap=True, highlight=False)


def _require() -> None:
    """Raise if a package that writes or runs ONNX files is not installed."""
    if missing := [name for name in PACKAGES if importlib.util.find_spec(name) is None]:
        raise BenchError(
            f"an export to ONNX needs the package '{missing[0]}': run `pip install efficientsam-bench[onnx]`"
        )
