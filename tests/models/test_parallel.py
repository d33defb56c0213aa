"""Prompts of an image side by side on a CPU: the same answers, in the same order, and no trace left behind."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from models import attention, upscaling, zoo
from models.efficientsam import decoder as efficientsam
from models.engines.ladder import products, put_on
from models.parallel import MOST, in_parallel, parts, workers_on
from models.sam import mask_decoder as sam
from models.segmenter import Prompts

PHOTO = np.random.default_rng(0).integers(0, 256, (151, 200, 3), dtype=np.uint8)
CORNERS = np.random.default_rng(1).uniform(0, 150, (7, 2, 2))
BOXES = Prompts.from_boxes(np.sort(CORNERS, axis=1).reshape(-1, 4))


@pytest.fixture(autouse=True)
def two_threads() -> Iterator[None]:
    """Let torch have two threads, however many cores there are."""
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


@given(st.integers(1, 50), st.integers(1, 9), st.integers(1, 12), st.integers(0, 12))
def test_parts_hold_everything_once_and_in_order(count: int, workers: int, most: int, least: int) -> None:
    cut = parts(count, workers, most=most, least=least)
    assert [place for part in cut for place in range(count)[part]] == list(range(count))
    assert max(len(range(count)[part]) for part in cut) <= most
    if count >= workers * max(least, 1):
        assert len(cut) >= workers or -(-count // workers) * len(cut) >= count


def test_items_are_computed_side_by_side_and_come_back_in_order() -> None:
    both = threading.Barrier(2, timeout=10)  # breaks unless two threads are there at once

    def square(item: int) -> int:
        if item < 2:
            both.wait()
        return item * item

    assert in_parallel(square, range(20), 2) == [item * item for item in range(20)]


def test_threads_share_those_of_torch_which_has_as_many_afterwards() -> None:
    torch.set_num_threads(4)
    assert in_parallel(lambda _: torch.get_num_threads(), range(6), 2) == [2] * 6
    assert torch.get_num_threads() == 4
    later: list[int] = []
    thread = threading.Thread(target=lambda: later.append(torch.get_num_threads()))
    thread.start()
    thread.join()
    assert later == [4]


def test_threads_compute_in_their_caller_s_modes() -> None:
    def modes(_: int) -> tuple[bool, bool, torch.dtype]:
        product = torch.ones(2, 2) @ torch.ones(2, 2)
        return torch.is_inference_mode_enabled(), torch.is_grad_enabled(), product.dtype

    with torch.inference_mode(), torch.autocast("cpu", dtype=torch.bfloat16):
        assert in_parallel(modes, range(4), 2) == [(True, False, torch.bfloat16)] * 4
    with torch.no_grad():
        assert in_parallel(modes, range(4), 2) == [(False, False, torch.float32)] * 4


@pytest.mark.parametrize("error", [ValueError("of item 3"), KeyboardInterrupt()], ids=["error", "Ctrl-C"])
def test_an_error_and_ctrl_c_end_all_workers_and_leave_threads_as_they_were(error: BaseException) -> None:
    done: list[int] = []

    def fail(item: int) -> None:
        if item == 3:
            if isinstance(error, KeyboardInterrupt):
                os.kill(os.getpid(), signal.SIGINT)
            else:
                raise error
        threading.Event().wait(0.02)
        done.append(item)

    with pytest.raises(type(error)):
        in_parallel(fail, range(1000), 2)
    assert len(done) < 100
    assert torch.get_num_threads() == 2
    assert not [one for one in threading.enumerate() if one.name.startswith("worker")]


def test_there_is_one_worker_where_cores_do_not_help() -> None:
    cpu = torch.device("cpu")
    assert workers_on(cpu) == 1  # gradients are wanted
    with torch.inference_mode():
        assert workers_on(cpu) == 2
        assert workers_on(torch.device("meta")) == 1
        torch.set_num_threads(MOST + 1)
        assert workers_on(cpu) == MOST


@pytest.mark.parametrize("name", ["efficientsam-ti-micro", "sam-micro"])
@pytest.mark.parametrize("engine", ["exact", "fast"])
@pytest.mark.usefixtures("bfloat16_cpu")
def test_masks_do_not_depend_on_the_number_of_workers(name, engine, monkeypatch) -> None:
    for module, limit in ((attention, "WORKER_PATCHES"), (upscaling, "_WORKER_LOGITS")):
        monkeypatch.setattr(module, limit, 1)
    seen = _watched(monkeypatch)
    two, again = _answer(name, engine), _answer(name, engine)
    assert len({one for one in seen if one.startswith("worker")}) == 2
    torch.set_num_threads(1)
    seen.clear()
    one = _answer(name, engine)
    assert set(seen) == {"MainThread"}
    near = 1e-5 if engine == "exact" else 2e-2
    for found, alone in zip(two[:2], one[:2], strict=True):
        assert np.abs(found - alone).max() <= near * np.abs(alone).max()
    assert (two[2] != one[2]).mean() <= (1e-4 if engine == "exact" else 5e-3)
    assert all(np.array_equal(first, second) for first, second in zip(two, again, strict=True))


@pytest.mark.parametrize("name", ["efficientsam-ti-micro", "sam-micro"])
def test_the_reference_engine_answers_as_published_on_one_thread_after_the_other(name, monkeypatch) -> None:
    monkeypatch.setattr(attention, "CPU_PATCHES", 256)
    seen = _watched(monkeypatch)
    _answer(name, "reference")
    assert seen == ["MainThread"] * len(BOXES)


def _watched(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Return a list that gets the name of the thread of every part that a decoder answers."""
    seen: list[str] = []
    for decoder in (efficientsam.MaskDecoder, sam.MaskDecoder):
        honest = decoder._answer

        def watched(self, *args, honest=honest, **options):
            seen.append(threading.current_thread().name)
            return honest(self, *args, **options)

        monkeypatch.setattr(decoder, "_answer", watched)
    return seen


def _answer(name: str, engine) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    segmenter = zoo.load(name)
    put_on(segmenter, engine)
    with products(engine):
        (embedding,) = segmenter.embed([PHOTO])
        logits, predicted_iou = segmenter.segment(embedding, BOXES)
        masks = segmenter.masks(logits, embedding.size)
    return np.asarray(logits), np.asarray(predicted_iou), masks.numpy()
