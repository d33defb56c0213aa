"""An image is embedded once: in one run, and on disk for later ones."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from bench.store.bounded import BoundedFolder
from models import zoo
from models.engines.ladder import put_on
from models.segmenter import Embedding, Prompts
from protocols import embeddings


@pytest.mark.parametrize(("limit", "asked"), [(1 << 20, [1, 2, 3]), (9 * 4, [1, 2, 3, 1])])
def test_embeddings_are_remembered_within_a_bound(monkeypatch, limit, asked):
    class Counting:
        name = "counting"

        def __init__(self):
            self.seen = []

        def embed(self, images):
            self.seen += [int(image[0, 0, 0]) for image in images]
            return [SimpleNamespace(features=torch.zeros(4), number=int(image[0, 0, 0])) for image in images]

    monkeypatch.setattr(embeddings, "REMEMBERED", limit)
    model = Counting()
    once = embeddings.embedding_once(model, images=3)
    images = [np.full((2, 2, 3), number, np.uint8) for number in (1, 2, 3, 3, 1)]
    assert [once.embed([image])[0].number for image in images] == [1, 2, 3, 3, 1]
    assert model.seen == asked
    assert once.name == "counting"
    assert embeddings.embedding_once("no segmenter", images=3) == "no segmenter"


class Counting:
    """Embeds an image as its first pixel, and counts."""

    name, device = "counting", torch.device("cpu")

    def __init__(self, kind=Embedding):
        self.asked, self.kind = 0, kind

    def embed(self, images):
        self.asked += len(images)
        return [self.kind(torch.full((2, 3, 3), float(image[0, 0, 0])), image.shape[:2]) for image in images]


def image(value, size=(4, 5)):
    return np.full((*size, 3), value, np.uint8)


def embed(folder, model, value, identity="m"):
    (found,) = embeddings.embedding_once(model, 1, folder, identity).embed([image(value)])
    return found


def test_a_later_run_takes_embeddings_from_the_disk(tmp_path):
    folder, first, later = BoundedFolder(tmp_path, 1 << 20), Counting(), Counting()
    made = embed(folder, first, 7)
    again = embed(folder, later, 7)
    assert (first.asked, later.asked) == (1, 0)
    assert torch.equal(made.features, again.features)
    assert again.size == (4, 5)


def test_another_image_model_or_precision_is_another_embedding(tmp_path):
    folder, model = BoundedFolder(tmp_path, 1 << 20), Counting()
    embed(folder, model, 7)
    assert embed(folder, model, 8).features.max() == 8
    embed(folder, model, 7, identity="other weights")
    with torch.autocast("cpu", dtype=torch.bfloat16):
        embed(folder, model, 7)
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("medium" if before != "medium" else "highest")
    try:
        embed(folder, model, 7)
    finally:
        torch.set_float32_matmul_precision(before)
    embed(folder, model, 7)
    assert model.asked == 5


def test_an_embedding_of_a_model_s_own_kind_is_not_kept(tmp_path):
    class Own(Embedding):
        pass

    model = Counting(Own)
    for _ in range(2):
        embed(BoundedFolder(tmp_path, 1 << 20), model, 7)
    assert model.asked == 2


def test_answers_from_the_disk_are_those_of_the_encoder_to_the_bit(tmp_path):
    folder = BoundedFolder(tmp_path, 1 << 30)
    photo = np.random.default_rng(0).integers(0, 256, (60, 80, 3), np.uint8)
    prompts = Prompts.from_boxes([[10, 10, 50, 40]])
    model = zoo.load("efficientsam-ti-micro")
    answers = []
    for _ in range(2):
        once = embeddings.embedding_once(model, 1, folder, "m")
        answers.append(once.segment(once.embed([photo])[0], prompts))
    assert all(torch.equal(one, other) for one, other in zip(*answers, strict=True))
    assert len(list(tmp_path.glob("*/*.kept"))) == 1


@pytest.mark.parametrize("name", ["efficientsam-ti-micro", "sam-micro", "mobilesam-micro"])
@pytest.mark.usefixtures("bfloat16_cpu")
def test_the_fast_engine_keeps_embeddings_at_half_the_size_and_answers_as_if_it_kept_none(tmp_path, name):
    photo = np.random.default_rng(0).integers(0, 256, (60, 80, 3), np.uint8)
    boxes = Prompts.from_boxes([[10, 10, 50, 40], [0, 0, 80, 60]])
    sizes = {}
    for engine in ("exact", "fast"):
        folder, model = BoundedFolder(tmp_path / engine, 1 << 30), zoo.load(name)
        put_on(model, engine)
        alone = model.segment(model.embed([photo])[0], boxes)
        for _ in range(2):  # the second from the disk
            once = embeddings.embedding_once(model, 1, folder, "m")
            kept = once.segment(once.embed([photo])[0], boxes)
            assert all(torch.equal(one, other) for one, other in zip(alone, kept, strict=True))
        (file,) = (tmp_path / engine).glob("*/*.kept")
        sizes[engine] = file.stat().st_size
    assert 0.5 <= sizes["fast"] / sizes["exact"] < 0.51  # but for the header
