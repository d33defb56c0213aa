"""The commands of `python -m bench` and how what a user typed gets to one of them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import tyro

from bench.cli import data, listing, probe, run, speed, train, weights
from bench.cli import detect as boxes
from models.files.folders import expanded

GROUPS: dict[str, dict[str, Callable[..., Any]]] = {
    "weights": {
        "list": weights.list_weights,
        "fetch": weights.fetch_weights,
        "verify": weights.verify_weights,
    },
    "data": {"verify": data.verify, "render": data.render, "cache-features": data.cache_features},
}
COMMANDS: dict[str, Callable[..., Any]] = {
    "run": run.run,
    "boxes": boxes.boxes,
    "list": listing.list_all,
    "runs": listing.list_runs,
    "probe": probe.probe,
    "speed": speed.speed,
    "train": train.train,
}
DESCRIPTION = (
    "Every table of EfficientSAM (arXiv 2312.00863), one command each, for any efficient segment-anything model. "
    "Start with `bench list`, then `bench run table4`."
)


_RULES = tyro.constructors.ConstructorRegistry()


@_RULES.primitive_rule
def _path(kind: tyro.constructors.PrimitiveTypeInfo) -> tyro.constructors.PrimitiveConstructorSpec[Path] | None:
    """Read paths with their ~ replaced: shells do so in `--out ~/a`, not in `--out=~/a`."""
    if kind.type is not Path:
        return None
    return tyro.constructors.PrimitiveConstructorSpec(
        nargs=1,
        metavar="PATH",
        instance_from_str=lambda given: expanded(given[0], "a path"),
        is_instance=lambda value: isinstance(value, Path),
        str_from_instance=lambda path: [str(path)],
    )


def dispatch(arguments: list[str]) -> None:
    """Run the command that the arguments name.

    Raises:
        SystemExit: 2 for arguments that no command takes.
    """
    with _RULES:
        _dispatch(arguments)


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
