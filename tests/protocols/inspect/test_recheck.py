"""A changed record is found as often as is claimed: trials over many seeds, with a computation in place of a model."""

from contextlib import contextmanager
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from scipy.stats import binomtest

from bench.store import RunStore
from bench.store.shards import encode
from bench.store.stored import StoredRun, read_run
from models.errors import BenchError
from protocols.inspect.recheck import Recheck, Sample, recheck
from protocols.shards import ImageSet, Job, run_shards
from tests.protocols.fakes import no_bar

IMAGES, OF_IMAGE = 104, 16
"""1,664 records."""
TRIALS = 200
PICTURES = ImageSet(
    images=range(IMAGES),
    ids=[3 * k + 1 for k in range(IMAGES)],
    names=[f"{k}.png" for k in range(IMAGES)],
    files=lambda image: (),
    read=lambda image: None,
)


def answers(images, advance, rounding=0.0) -> pd.DataFrame:
    """Return records that depend on their image alone."""
    frames = []
    for image in images:
        iou = np.random.default_rng(image).random(OF_IMAGE) + rounding
        ids = {"image_id": 3 * image + 1, "annotation_id": np.arange(OF_IMAGE), "prompt": "box"}
        frames.append(pd.DataFrame({**ids, "iou": iou, "skipped": ""}))
        advance(1)
    return pd.concat(frames, ignore_index=True)


def job(make=answers, asked=PICTURES) -> Job:
    return Job(identity={"protocol": "none"}, asked=asked, make=make, at_once=16, description="none")


@pytest.fixture
def stored(tmp_path) -> StoredRun:
    (done,) = run_shards([job()], RunStore(tmp_path), provenance={}, progress=no_bar)
    return read_run(tmp_path / done.fingerprint)


@contextmanager
def one_record_changed(run: StoredRun, random: np.random.Generator, by: float = 0.01):
    """Change one record, each with the same chance, in a shard with a good seal; yield its place among all."""
    record = int(random.integers(IMAGES * OF_IMAGE))
    number, place = divmod(record, 16 * OF_IMAGE)
    path = run.paths[number]
    sound, frame = path.read_bytes(), run.shard(number)
    frame.loc[place, "iou"] += by
    path.write_bytes(encode(frame))
    yield record
    path.write_bytes(sound)


def check(run: StoredRun, sample: Sample, **more) -> Recheck:
    return recheck(more.pop("job", job()), run, sample, no_bar, **more)


def test_one_changed_record_of_1664_is_found_with_the_probability_that_is_stated(stored):
    found, stated = 0, check(stored, Sample(13, 0)).assurance.one_record
    assert stated == 0.125
    for trial in range(TRIALS):
        with one_record_changed(stored, np.random.default_rng([trial, 1])) as record:
            result = check(stored, Sample(13, trial))
        drawn = record // OF_IMAGE in Sample(13, trial).draw(IMAGES)
        assert (result.outcome == "differs") == drawn
        if result.first is not None:
            assert (result.first.image_id, result.first.record) == (3 * (record // OF_IMAGE) + 1, record % OF_IMAGE)
        found += drawn
    assert binomtest(found, TRIALS, stated).pvalue > 0.01, f"found in {found} of {TRIALS} trials, not {stated:.1%}"


def test_as_many_changed_records_as_are_stated_are_found_with_the_probability_that_is_stated(stored):
    """In the fewest images that hold them, which is where they hide best; whole trials are the test above."""
    sure = check(stored, Sample(26, 0)).assurance
    images = -(-sure.records // OF_IMAGE)
    trials = [np.isin(Sample(26, trial).draw(IMAGES), np.arange(images)).any() for trial in range(10 * TRIALS)]
    assert binomtest(sum(trials), len(trials), sure.probability).pvalue > 0.01
    assert sure.probability >= 0.95


def test_all_images_find_every_changed_record(stored):
    for trial in range(3):
        with one_record_changed(stored, np.random.default_rng(trial)):
            assert check(stored, Sample(every=True)).outcome == "differs"
    assert check(stored, Sample(every=True)).outcome == "identical"


def test_what_is_left_as_it_was_is_certified(stored):
    found = check(stored, Sample(26, 5))
    assert (found.outcome, found.images, found.records, found.checked_records) == ("identical", 104, 1664, 416)
    assert found.certificate == (
        "416 of 416 records identical (26 of 104 images, drawn with seed 5): had one record been another, this would "
        "have been noticed with probability 25.0%; had at least 8.7% of all records been others (145 of 1,664), with "
        "probability 95.2% or more"
    )


def test_rounding_is_said_apart_from_equality_and_never_called_identical(stored):
    found = check(stored, Sample(4, 0), job=job(lambda *given: answers(*given, rounding=1e-9)))
    assert found.outcome == "equal to within rounding"
    assert found.rounding == pytest.approx(1e-9, rel=1e-6)
    assert "equal to within 1e-06, the largest difference is 1e-09" in found.certificate
    assert "identical" not in found.certificate


def test_a_record_about_an_image_that_is_not_there_is_found_by_every_sample(stored):
    frame = stored.shard(3)
    stored.paths[3].write_bytes(encode(pd.concat([frame, frame[:1].assign(image_id=2)], ignore_index=True)))
    found = check(stored, Sample(1, 0))
    assert (found.outcome, found.first.image_id) == ("differs", 2)


def test_an_image_left_out_for_another_reason_is_the_same_as_before(tmp_path):
    def left_out(why):
        return job(lambda images, advance: answers(images, advance)[::OF_IMAGE].assign(iou=0.0, skipped=why))

    (done,) = run_shards([left_out("a.png ends early")], RunStore(tmp_path), provenance={}, progress=no_bar)
    run = read_run(tmp_path / done.fingerprint)
    assert check(run, Sample(9, 0), job=left_out("elsewhere/a.png ends early")).outcome == "identical"
    assert check(run, Sample(9, 0)).outcome == "differs"


def test_a_run_about_other_images_is_refused(stored):
    with pytest.raises(BenchError, match="is about other images than the 50"):
        check(stored, Sample(1, 0), job=job(asked=PICTURES.part(0, 50)))


def test_the_same_seed_draws_the_same_images_and_others_do_not():
    assert (Sample(26, 1).draw(IMAGES) == Sample(26, 1).draw(IMAGES)).all()
    assert (Sample(26, 1).draw(IMAGES) != Sample(26, 2).draw(IMAGES)).any()
    assert len(Sample(500, 1).draw(IMAGES)) == len(Sample(3, 1, every=True).draw(IMAGES)) == IMAGES


def test_measured_times_are_not_compared(tmp_path):
    calls = iter(range(10**6))

    def timed(images, advance):
        return answers(images, advance).assign(seconds=lambda frame: [float(next(calls))] * len(frame))

    asked = PICTURES.part(0, 16)
    (done,) = run_shards([job(timed, asked)], RunStore(tmp_path), provenance={}, progress=no_bar)
    run = read_run(tmp_path / done.fingerprint)
    assert "seconds" in run.records()
    assert check(run, Sample(every=True), job=job(timed, asked)).outcome == "differs"
    unlike = replace(job(timed, asked), times=("seconds",))
    assert check(run, Sample(every=True), job=unlike).outcome == "identical"
    worse = replace(job(lambda *these: timed(*these).assign(iou=0.0), asked), times=("seconds",))
    assert check(run, Sample(every=True), job=worse).outcome == "differs"
