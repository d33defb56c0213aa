"""`model-index`, the block of a Hugging Face model card that says how a model was measured.

Its fields are those of huggingface_hub's `EvalResult`. It is written as JSON, which YAML readers read.
"""

from __future__ import annotations

import json
import re
import textwrap
from collections.abc import Callable, Iterable
from typing import Any

from reports.gather import Entry
from reports.wording import number


def to_model_index(
    entries: Iterable[Entry], name: str, kinds: Callable[[str], tuple[str, str]], source: str | None = None
) -> str:
    """Return the block for one model, to be pasted between the card's `---` lines.

    Args:
        entries: Its numbers.
        name: Of the model, on its card.
        kinds: From the name of a table to the card's task and metric, e.g. ("mask-generation", "mean_iou"); an empty
            metric is called as the column is.
        source: Address of the page where the numbers stand; without one they name no source, for the format wants an
            address, but the version and the command that measured them.
    """
    results: dict[tuple[str, ...], dict[str, Any]] = {}
    for entry in entries:
        task, metric = kinds(entry.table)
        key = (entry.table, entry.protocol, entry.scale, entry.data, entry.engine, entry.hardware, entry.date)
        found = results.setdefault(key, _result(entry, task, source))
        found["metrics"].append(_metric(entry, metric))
    block = json.dumps([{"name": name, "results": list(results.values())}], indent=1, ensure_ascii=False)
    return "model-index:\n" + textwrap.indent(block, "  ") + "\n"


def file_name(name: str) -> str:
    """Return what the file of a model is called.

    >>> file_name("hf:facebook/sam2.1-hiera-tiny"), file_name("../..")
    ('model-index-hf-facebook-sam2.1-hiera-tiny.yaml', 'model-index-model.yaml')
    """
    words = [word.strip(".") for word in re.findall(r"[\w.]+", name)]
    return f"model-index-{'-'.join(filter(None, words)) or 'model'}.yaml"


def _result(entry: Entry, task: str, source: str | None) -> dict[str, Any]:
    label = entry.data.partition(":")[0] or entry.scale
    dataset = {"type": _identifier(label), "name": label}
    args = {"data": entry.data, "scale": entry.scale, "protocol": entry.protocol}
    result: dict[str, Any] = {
        "task": {"type": task, "name": entry.title},
        "dataset": {**dataset, "args": {key: value for key, value in args.items() if value}},
        "metrics": [],
    }
    if source:
        result["source"] = {"name": f"EfficientSAM-Bench {entry.version}", "url": source}
    return result


def _identifier(label: str) -> str:
    """Return a name in the form of identifiers.

    >>> _identifier("COCO (micro)"), _identifier("street, at night")
    ('coco-micro', 'street-at-night')
    """
    return "-".join(re.findall(r"[\w.]+", label.lower())) or "data"


def _metric(entry: Entry, metric: str) -> dict[str, Any]:
    """Return one number: percentages x 100, rounded as they are printed."""
    scaled = 100 if entry.percent else 1
    args = {
        "interval_95": [None if end is None else round(end * scaled, 2) for end in (entry.low, entry.high)],
        "n": entry.n,
        "weights_sha256": entry.weights,
        "engine": entry.engine,
        "hardware": entry.hardware,
        "date": entry.date,
        "measured_with": f"EfficientSAM-Bench {entry.version}: {entry.command}",
        "note": entry.note,
    }
    return {
        "type": metric or entry.key,
        "name": f"{entry.title}: {entry.column}",
        "value": float(number(entry.value, entry.percent)),
        "args": {key: value for key, value in args.items() if value not in ("", None)},
    }
