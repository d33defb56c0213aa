"""`python -m bench`: the front door, the only place that knows data, models, protocols and reports."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import tyro

from bench.cli import boxes, data, finetune, listing, pretrain, probe, run, speed, train, train_all, weights
from models.errors import BenchError

GROUPS: dict[str, dict[str, Callable[..., Any]]] = {
    "weights": {
        "list": weights.list_weights,
        "fetch": weights.fetch_weights,
        "verify": weights.verify_weights,
    },
    "data": {"verify": data.verify, "render": data.render},
}
COMMANDS: dict[str, Callable[..., Any]] = {
    "run": run.run,
    "boxes": boxes.boxes,
    "list": listing.list_all,
    "runs": listing.list_runs,
    "pretrain": pretrain.pretrain,
    "finetune": finetune.finetune,
    "probe": probe.probe,
    "speed": speed.speed,
    "train": train.train,
    "train-micro": train_all.train_micro,
    "train-ablations": train_all.train_ablations,
    "micro-features": train.micro_features,
}
DESCRIPTION = (
    "Every table of EfficientSAM (arXiv 2312.00863), one command each, for any efficient segment-anything model. "
    "Start with `bench list`, then `bench run table4`."
)


def main() -> None:
    """Run one command; a mistake of the user's ends in one sentence and exit code 1."""
    try:
        _dispatch(sys.argv[1:])
    except BenchError as error:
        print(f"error: {error}", file=sys.stderr)
        raise SystemExit(1) from None
    except KeyboardInterrupt:
        print("stopped; what was finished is kept, the same command goes on from there", file=sys.stderr)
        raise SystemExit(130) from None


def _dispatch(arguments: list[str]) -> None:
    group = GROUPS.get(arguments[0]) if arguments else None
    if group is not None:
        tyro.extras.subcommand_cli_from_dict(group, prog=f"bench {arguments[0]}", args=arguments[1:])
        return
    groups = {name: _group_help(name, commands) for name, commands in GROUPS.items()}
    tyro.extras.subcommand_cli_from_dict(
        {**COMMANDS, **groups}, prog="bench", description=DESCRIPTION, args=arguments or ["--help"]
    )


def _group_help(name: str, commands: dict[str, Callable[..., Any]]) -> Callable[[], None]:
    def show() -> None:
        tyro.extras.subcommand_cli_from_dict(commands, prog=f"bench {name}", args=["--help"])

    show.__doc__ = f"{', '.join(commands)}; see `bench {name} --help`."
    return show


if __name__ == "__main__":
    main()
