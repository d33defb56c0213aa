"""The commands of `python -m bench`, and how what a user typed gets to one of them.

A command is imported when it is called: `bench --help` costs no import of torch.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from models.errors import unknown_name
from models.files.folders import expanded


class Command(NamedTuple):
    """One command."""

    function: str
    """"module:function"."""
    what: str


COMMANDS: dict[str, Command] = {
    "run": Command("bench.cli.run:run", "make tables and figures of the paper"),
    "sweep": Command("bench.cli.sweep:sweep", "many models, one job each: in turn, or on a cluster"),
    "list": Command("bench.cli.list:list_all", "what can be run here, and how to get the rest"),
    "train": Command("bench.cli.train:train", "train a model of the paper, or a micro one"),
    "detect": Command("bench.cli.detect:detect", "find a detector's boxes and masks, for Table 5"),
    "segment": Command("bench.cli.segment:segment", "segment a photo: everything in it, boxes or clicks"),
    "engines": Command("bench.cli.engines:engines", "how exact and how fast the engines are on this machine"),
    "check-model": Command(
        "bench.cli.check_model:check_model", "before a night's run: is a model asked as it should be"
    ),
    "export": Command("bench.cli.export:export", "write a model as files that other programs run (ONNX, int8)"),
    "compare": Command("bench.cli.compare:compare_two", "two runs, models or files of masks, object by object"),
    "gallery": Command("bench.cli.gallery:gallery", "look through a run's predictions in a browser, or through two"),
    "explain": Command("bench.cli.explain:explain_number", "which choice of the protocol moved a number"),
    "runs": Command("bench.cli.runs:list_runs", "what was measured before"),
    "verify": Command("bench.cli.verify:verify", "re-execute a sample of a run: are its records what they say"),
    "regression": Command(
        "bench.cli.regression:regression", "do the micro tables, or a run of yours, still give what they gave"
    ),
    "report": Command("bench.cli.report:report", "all finished tables as one paper: HTML, PDF, LaTeX, Markdown"),
    "results": Command("bench.cli.results:results", "all finished tables as a leaderboard, or for a model's card"),
    "claims": Command("bench.cli.claims:claims", "each claim of the paper, beside its tables and what was measured"),
    "calibrate": Command(
        "bench.cli.calibrate:calibrate", "published numbers, cheapest first: which one is missed, and why"
    ),
    "probe": Command("bench.cli.probe:probe", "what a pretrained encoder knows: linear and kNN probes"),
}
GROUPS: dict[str, dict[str, Command]] = {
    "regression": {
        "update": Command("bench.cli.regression:update", "expect from now on what the tables give, and say why"),
        "measure": Command("bench.cli.regression:measure", "measure again what tolerances follow from"),
    },
    "weights": {
        "list": Command("bench.cli.weights:list_weights", "every model with its checkpoint, and whether it is here"),
        "fetch": Command("bench.cli.weights:fetch_weights", "download published checkpoints and check them"),
        "verify": Command("bench.cli.weights:verify_weights", "hash checkpoints again"),
    },
    "data": {
        "fetch": Command("bench.cli.data:fetch", "download data sets, unpack them and check them"),
        "verify": Command("bench.cli.data:verify", "check data sets: layout, counts, files, hashes"),
        "render": Command("bench.cli.data:render", "draw the dead leaves, the micro scale's data"),
        "cache-features": Command("bench.cli.data:cache_features", "keep what a teacher says of every crop"),
    },
}
DESCRIPTION = (
    "Every table of EfficientSAM (arXiv 2312.00863), one command each, for any efficient segment-anything model.\n"
    "Start with `bench list`, then `bench run table4`."
)
HELP = ("-h", "--help")


def dispatch(arguments: list[str]) -> None:
    """Run the command that the arguments name.

    Raises:
        BenchError: if there is no such command.
        SystemExit: 2 for arguments that the command does not take.
    """
    if not arguments or arguments[0] in HELP:
        print(
            _help("bench", DESCRIPTION, {**COMMANDS, **{name: _about(name) for name in GROUPS if name not in COMMANDS}})
        )
        return
    verb, *rest = arguments
    group = GROUPS.get(verb)
    if group is None or (verb in COMMANDS and (not rest or rest[0] not in group)):
        _call(_named(verb, COMMANDS, GROUPS), f"bench {verb}", rest)
    elif not rest or rest[0] in HELP:
        print(_help(f"bench {verb}", _about(verb).what, group))
    else:
        _call(_named(rest[0], group), f"bench {verb} {rest[0]}", rest[1:])


def _named(name: str, commands: dict[str, Command], *others: dict[str, Any]) -> Command:
    if name not in commands:
        raise unknown_name("command", name, {*commands, *(other for group in others for other in group)})
    return commands[name]


def _about(group: str) -> Command:
    return Command("", f"{group}: {', '.join(GROUPS[group])}")


def _help(program: str, description: str, commands: dict[str, Command]) -> str:
    width = max(map(len, commands))
    lines = [f"  {name:{width}}  {command.what}" for name, command in commands.items()]
    return "\n".join(
        [f"usage: {program} COMMAND ...", "", description, "", *lines, "", f"`{program} COMMAND --help` says more."]
    )


def _call(command: Command, program: str, arguments: list[str]) -> None:
    import tyro  # a tenth of a second

    from bench.cli.legible import legible

    module, _, name = command.function.partition(":")
    function: Callable[..., Any] = getattr(importlib.import_module(module), name)
    rules = tyro.constructors.ConstructorRegistry()

    @rules.primitive_rule
    def path(kind: tyro.constructors.PrimitiveTypeInfo) -> tyro.constructors.PrimitiveConstructorSpec[Path] | None:
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

    with rules:
        tyro.cli(legible(function), prog=program, args=arguments, config=(tyro.conf.DisallowNone,))
