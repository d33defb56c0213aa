"""Take over the records of a run that differs from the wanted one by its code alone, once a sample is identical.

A run's identity holds a digest of all code and library versions that could change its records
(`protocols.fingerprint`), so that also a change that changes none makes another run. Here today's code re-executes
a random sample of the finished run's images: if every record of them is identical, its shards become those of the new
run, whose run.json says from which run they are and what was checked.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from bench.data.contents import Contents
from bench.processes import this_process
from bench.store import manifest
from bench.store.identity import canonical_json
from bench.store.listing import list_runs
from bench.store.stored import StoredRun, read_run
from models.errors import BenchError
from protocols.inspect.recheck import Recheck, Sample, fresh_seed, of_todays_files, recheck
from protocols.settings import Settings
from protocols.shards import Job, contents_of


def adopt(job: Job[Any], settings: Settings) -> None:
    """Take over the newest finished run of a job that differs by its code alone, if a sample of it is identical.

    Nothing happens if the job's own run is finished or there is no such run. What happens, and why nothing is taken
    over, is said in one line.

    Raises:
        BenchError: if several processes are about it, or the model or its data fail.
    """
    if this_process().world > 1:
        raise BenchError("--adopt is for one process: run it without torchrun, then the same command without --adopt")
    source = _source(job, settings)
    if source is None:
        return
    source, replaced = of_todays_files(source, job, settings.progress)
    if replaced:
        why = f"the files of {len(replaced)} of its {source.shards} shards hold other bytes than when it was made"
    else:
        found = recheck(job, source, Sample(seed=fresh_seed()), settings.progress, to_the_end=False)
        if found.outcome == "identical":
            _take_over(job, source, found, settings)
            settings.say(f"{job.description}: adopted run {source.fingerprint} of other code: {found.certificate}")
            return
        why = _why_not(found)
    settings.say(f"{job.description}: run {source.fingerprint} of other code is not adopted: {why}")


def _why_not(found: Recheck) -> str:
    if found.first is None:
        return f"today's code gives the same records to within rounding alone, at most {found.rounding:.1g} apart"
    return f"today's code gives other records, the first is {found.first.words}"


def _source(job: Job[Any], settings: Settings) -> StoredRun | None:
    """Return the newest finished run that differs from a job by its code alone; None if its own is finished."""
    wanted = json.loads(canonical_json(job.whole_identity()))
    finished = [run for run in list_runs(settings.store.root) if not run.problem and run.done == run.shards]
    if any(run.identity == wanted for run in finished):
        return None
    for run in finished:
        if run.shards == len(job.parts()) and {**run.identity, "code": wanted["code"]} == wanted:
            try:
                return read_run(settings.store.root / run.fingerprint)
            except BenchError as error:
                settings.say(f"{job.description}: not adopted: {error}")
    return None


def _take_over(job: Job[Any], source: StoredRun, found: Recheck, settings: Settings) -> None:
    """Make the shards of another run those of a job's own run."""
    sure = found.assurance
    adopted = {
        "run": source.fingerprint,
        "code": source.identity.get("code"),
        "images": found.images,
        "checked_images": found.checked_images,
        "records": found.records,
        "checked_records": found.checked_records,
        "seed": found.seed,
        "probability_of_noticing_one_record": sure.one_record,
        "noticed_records": sure.records,
        "probability_of_noticing_so_many": sure.probability,
        "certificate": found.certificate,
        "sessions": list(source.sessions),
    }
    run = settings.store.open(
        job.whole_identity(),
        source.shards,
        contents=contents_of(job.parts(), Contents(), settings.progress),
        provenance={**settings.provenance, manifest.ADOPTED: adopted},
    )
    for number, path in source.paths.items():
        run.take_over(number, path)


def checked(adopted: Mapping[str, Any]) -> dict[str, Any]:
    """Return what was checked before shards were taken over, without the provenance of those who made them."""
    return {name: value for name, value in adopted.items() if name != "sessions"}


def note(row: str, data: str, adopted: Mapping[str, Any]) -> str:
    """Say whose records a row stands on and what was checked, for a table's footnotes.

    Args:
        row: of the table.
        data: what reports call the data.
        adopted: what the run's session says, see `bench.store.manifest.ADOPTED`.
    """
    earlier = "".join(f", which had adopted those of run {name}" for name in _earlier(adopted))
    return (
        f"{row} on {data}: records of run {adopted.get('run')}{earlier}, made by other code and adopted after today's "
        f"gave {adopted.get('certificate')}"
    )


def _earlier(adopted: Mapping[str, Any]) -> Iterator[str]:
    """Yield the runs from which the adopted run had its records, if it had adopted them itself."""
    for session in adopted.get("sessions", ()):
        before = session.get(manifest.ADOPTED)
        if isinstance(before, dict):
            yield str(before.get("run"))
            yield from _earlier(before)
