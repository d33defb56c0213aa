"""`bench regression`: do the tables still give what they gave?"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path

import pandas as pd
import tyro

from bench.cli.as_json import AsJson, print_json
from bench.cli.run import run_settings, say
from bench.progress import progress
from bench.store import RunStore
from models.engines.names import Engine
from models.errors import BenchError
from protocols.regression.baseline import take_baseline
from protocols.regression.conditions import CONDITIONS, differences
from protocols.regression.gate import changes, compare
from protocols.regression.gated import chosen
from protocols.regression.history import append_history
from protocols.regression.snapshots import EXPECTED, Snapshot, read_snapshot, write_snapshot
from protocols.regression.taking import take_snapshot
from protocols.regression.tolerances import DIFFERENCES, read_tolerances
from protocols.settings import Settings
from reports.regression import as_markdown, print_findings

Names = tyro.conf.Positional[tuple[str, ...]]


def regression(
    names: Names = (),
    baseline: str | None = None,
    engine: Engine = "exact",
    save: Path | None = None,
    markdown: Path | None = None,
    as_json: AsJson = False,
) -> None:
    """Make the micro tables and compare them with what they are expected to give; exit code 1 if anything drifted.

    Compared are the number of each cell, and the records behind it: how many prompts, detections or images moved. How
    far either may be off follows from measured differences between thread counts, engines and kinds of CPUs
    (docs/regression.md). Models are always asked anew, whatever ./runs holds.

        bench regression
        bench regression table4 table5 --markdown summary.md
        bench regression --baseline table4/efficientsam-ti/coco
        bench regression update --reason "EfficientSAM-Ti trained for 5 more epochs"
        bench regression measure

    Args:
        names: Tables, e.g. table4, or table4@odd-sizes (images that are no squares); without any, all whose numbers are
            no times.
        baseline: A run of your own in ./runs (or $BENCH_RUNS), at any scale: its folder, the beginning of its
            fingerprint, or TABLE/MODEL/DATA. The model is asked about the same images again, with the code, the weights
            and the libraries of today, and both are compared.
        engine: How networks compute: exact or reference. fast is refused, it is not what expectations are about.
        save: A folder to write what was measured into, in the form of protocols/expected.
        markdown: A file to append the report to, as Markdown, e.g. "$GITHUB_STEP_SUMMARY".
        as_json: Print all comparisons as JSON.
    """
    if engine == "fast":
        raise BenchError("the fast engine is for exploration, nothing is expected of it: use exact or reference")
    if baseline is not None:
        if names or save:
            raise BenchError("--baseline compares one run: leave the names of tables and --save out")
        expected, found = take_baseline(baseline, run_settings(None, "cpu"))
        command = f"bench regression --baseline {baseline}"
    else:
        found = _taken(chosen(names), engine)
        if save is not None:
            write_snapshot(found, save)
        expected = read_snapshot(EXPECTED)
        command = " ".join(["bench regression", *names])
    findings = compare(expected, found, read_tolerances())
    changed = changes(expected.made_with, found.made_with)
    if as_json:
        print_json([asdict(one) for one in findings])
    else:
        print_findings(findings, changed)
    if markdown is not None:
        with markdown.open("a", encoding="utf-8") as file:
            file.write(as_markdown(findings, changed, command))
    if drifted := [one for one in findings if one.drifted]:
        raise BenchError(
            f"{len(drifted)} of {len(findings)} comparisons drifted: if that is what you want, say why with "
            '`bench regression update --reason "..."`'
        )


def update(names: Names = (), *, reason: str) -> None:
    """Make the micro tables and expect from now on what they give; say in the history why.

    Writes protocols/expected, and appends what moved to protocols/expected/history.jsonl.

        bench regression update table2 table5 --reason "detectors trained for twice as long"

    Args:
        names: Tables to expect otherwise; without any, all that `bench regression` makes.
        reason: Why they give something else now; it stays in the history.
    """
    if not reason.strip():
        raise BenchError("--reason is empty: say in a sentence why the tables give something else now")
    wanted = chosen(names)
    before = read_snapshot(EXPECTED) if (EXPECTED / "cells.csv").is_file() else None
    found = _taken(wanted, "exact")
    findings = compare(before, found, read_tolerances()) if before is not None else []
    write_snapshot(before.replaced_by(found) if before is not None else found, EXPECTED)
    changed = changes(before.made_with, found.made_with) if before is not None else []
    entry = append_history(reason, findings, found, changed, EXPECTED)
    if findings:
        print_findings(findings, changed)
    say(f"{EXPECTED} expects now what {', '.join(found.tables)} gave; {len(entry['moved'])} comparisons had moved")


def measure(names: Names = (), *, only: tuple[str, ...] = (), keep: Path | None = None) -> None:
    """Measure again how far numbers are off for reasons that mean nothing: threads, engine, kind of CPU.

    Makes the tables once as usual and once under each condition, each time in a process of its own, and writes the
    largest differences to protocols/expected/differences.csv, from which tolerances follow. Several times the minutes
    of `bench regression`; what was measured before a Ctrl-C is kept with --keep.

    Args:
        names: Tables; without any, all that `bench regression` makes.
        only: Conditions to measure, by name; those of the file that are not named stay. `--only` with a wrong name
            lists them.
        keep: A folder for what each condition gave; conditions that it holds already are not made again.
    """
    for name in only:
        if name not in CONDITIONS:
            raise BenchError(f"there is no condition '{name}': there are {', '.join(CONDITIONS)}")
    chosen(names)
    with _folder(keep) as folder:
        wanted = ["usual", *(name for name in CONDITIONS if name != "usual" and (not only or name in only))]
        with progress("conditions", total=len(wanted), unit="conditions") as advance:
            for name in wanted:
                if not (folder / name / "made_with.json").is_file():
                    _make_under(name, names, folder / name)
                advance(1)
        usual = read_snapshot(folder / "usual")
        measured = pd.concat([differences(name, usual, read_snapshot(folder / name)) for name in wanted[1:]])
    if DIFFERENCES.is_file():
        earlier = pd.read_csv(DIFFERENCES, float_precision="round_trip")
        again = earlier["condition"].isin(wanted[1:]) & earlier["table"].isin(usual.tables)
        measured = pd.concat([earlier[~again], measured])
    measured.sort_values(["table", "column", "level", "condition"]).to_csv(
        DIFFERENCES, index=False, lineterminator="\n"
    )
    say(f"wrote {DIFFERENCES}")


def _make_under(condition: str, names: Sequence[str], out: Path) -> None:
    """Make tables in another process under a condition, and keep what they give in a folder.

    Raises:
        BenchError: if the process fails for another reason than drift.
    """
    what = CONDITIONS[condition]
    command = [sys.executable, "-m", "bench", "regression", *names, "--engine", what.engine, "--save", str(out)]
    done = subprocess.run(command, env={**os.environ, **what.environment}, stdout=subprocess.DEVNULL, check=False)
    if not (out / "made_with.json").is_file():
        raise BenchError(f"the tables could not be made under '{condition}' (exit code {done.returncode}): see above")


@contextmanager
def _folder(keep: Path | None) -> Iterator[Path]:
    if keep is not None:
        yield keep
        return
    with tempfile.TemporaryDirectory() as folder:
        yield Path(folder)


def _taken(names: Sequence[str], engine: Engine) -> Snapshot:
    """Make micro tables, asking models anew, and return what they gave."""
    with tempfile.TemporaryDirectory(prefix="bench-regression-") as folder:
        settings: Settings = replace(
            run_settings(None, "cpu"), scale="micro", engine=engine, store=RunStore(Path(folder))
        )
        return take_snapshot(names, settings)
