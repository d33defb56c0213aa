"""Exported encoders and decoders answer as the networks that they were made from; whatever else they are is said."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from models import zoo
from models.cards import ModelCard
from models.checks.run import run_checks
from models.errors import BenchError, UnsupportedPrompt
from models.exports import export, record
from models.exports.export import export_onnx
from models.files.hashes import hash_file
from models.segmenter import Prompts

DRAWS = np.random.default_rng(0)
EFFICIENTSAM, MOBILESAM = "efficientsam-ti-micro", "mobilesam-micro"
LOGITS, IOU = 2e-4, 1e-5
"""Largest differences; logits reach 60, so that this is float32's rounding over some hundred operators."""
PIXELS = 1e-4
"""Share of a mask's pixels: one in ten thousand, or one of a smaller mask."""
SIZES = [(1, 1), (37, 53), (97, 1), (255, 401)]


def image(height: int, width: int) -> np.ndarray:
    return DRAWS.integers(0, 256, (height, width, 3), dtype=np.uint8)


def spec(folder: Path, name: str, precision: str = "", decoder: str = "") -> str:
    encoder = f"{name}{precision}.encoder.onnx"
    return f"onnx:{folder / encoder},{folder / (decoder or encoder.replace('encoder', 'decoder'))}"


def prompts_of(size: tuple[int, int], kind: str) -> Prompts:
    height, width = size
    draws = np.random.default_rng(0)

    def points(prompts: int, each: int) -> np.ndarray:
        return draws.random((prompts, each, 2)) * (width, height)

    boxes = np.sort(points(17, 2), 1)
    return {
        "a box": Prompts(boxes[:1], [[2, 3]]),
        "17 boxes": Prompts(boxes, np.tile([2, 3], (17, 1))),
        "a click": Prompts(points(1, 1), [[1]]),
        "5 x 3 clicks": Prompts(points(5, 3), np.ones((5, 3))),
        "box and click": Prompts(points(2, 3), [[2, 3, 1], [2, 3, 1]]),
        "evened out": Prompts(points(4, 3), [[2, 3, -1], [1, -1, -1], [1, 1, 1], [2, 3, -1]]),
        "background": Prompts(points(2, 3), [[1, 0, 0], [1, 0, -2]]),
    }[kind]


def same_answers(name: str, folder: Path) -> None:
    """Compare a model and its export for images of odd sizes and prompts of all kinds and numbers."""
    ours, theirs = zoo.load(name), zoo.load(spec(folder, name))
    for size in SIZES:
        photo = image(*size)
        (embedding,), (exported_embedding,) = (one.embed([photo]) for one in (ours, theirs))
        for kind in ("a box", "17 boxes", "a click", "5 x 3 clicks", "box and click", "evened out", "background"):
            if kind == "background" and name == EFFICIENTSAM:
                continue
            prompts = prompts_of(size, kind)
            for multimask in (True, False):
                expected = ours.segment(embedding, prompts, multimask=multimask)
                found = theirs.segment(exported_embedding, prompts, multimask=multimask)
                assert found.logits.shape == expected.logits.shape
                torch.testing.assert_close(found.logits, expected.logits, rtol=0, atol=LOGITS)
                torch.testing.assert_close(found.predicted_iou, expected.predicted_iou, rtol=0, atol=IOU)
                wrong = (theirs.masks(found.logits, size) != ours.masks(expected.logits, size)).sum((-2, -1))
                assert wrong.max() <= max(1, PIXELS * size[0] * size[1]), (size, kind, multimask)


@pytest.mark.parametrize("name", [EFFICIENTSAM, MOBILESAM])
def test_an_export_answers_as_its_model(exported, name: str) -> None:
    same_answers(name, exported(name))


@pytest.mark.faults
def test_an_export_of_sam_answers_as_its_model(exported) -> None:
    same_answers("sam-micro", exported("sam-micro"))


@pytest.fixture
def folder(exported, tmp_path: Path) -> Path:
    """Return a copy of an export that a test may spoil."""
    return Path(shutil.copytree(exported(EFFICIENTSAM), tmp_path / "exported"))


@pytest.fixture
def name(folder: Path) -> str:
    return spec(folder, EFFICIENTSAM)


def test_an_export_says_what_it_was_made_from(folder: Path, name: str) -> None:
    import onnxruntime

    card, segmenter = zoo.card(name), zoo.load(name)
    source = zoo.card(EFFICIENTSAM)
    assert (card.scale, card.paper_row, card.licence, card.input) == ("micro", None, source.licence, source.input)
    assert card.made_from == (EFFICIENTSAM, source.sha256)
    assert card.note == f"ONNX, fp32, exported from {EFFICIENTSAM}"
    assert segmenter.identity == {
        "sha256": [hash_file(folder / f"{EFFICIENTSAM}.{role}.onnx") for role in ("encoder", "decoder")],
        "made_from": [EFFICIENTSAM, source.sha256],
        "onnxruntime": onnxruntime.__version__,
    }
    assert zoo.available(name) == (True, "")
    assert record.read(folder / f"{EFFICIENTSAM}.json").opset == export.OPSET


def test_an_export_passes_every_check(name: str) -> None:
    assert {check: one.said for check, one in run_checks(zoo.load(name)) if one.outcome != "ok"} == {}


def test_no_prompts_get_no_masks_and_a_mask_prompt_is_refused(exported, name: str) -> None:
    for which in (name, spec(exported(MOBILESAM), MOBILESAM)):
        model = zoo.load(which)
        (embedding,) = model.embed([image(9, 7)])
        box = prompts_of((9, 7), "a box")
        logits, predicted_iou = model.segment(embedding, box[:0])
        assert (logits.shape, predicted_iou.shape) == ((0, 3, 64, 64), (0, 3))
        with pytest.raises(UnsupportedPrompt, match="no mask prompt"):
            model.segment(embedding, Prompts(box.points, box.labels, torch.zeros(1, 64, 64)))


def test_images_together_are_encoded_as_alone(name: str) -> None:
    network = zoo.load(name).network
    pixels = torch.randn(2, 3, 256, 256)
    torch.testing.assert_close(network.encode(pixels), torch.cat([network.encode(one[None]) for one in pixels]))


@pytest.fixture
def int8(traced_before, folder: Path) -> export.Exported:
    return export_onnx(zoo.load(EFFICIENTSAM), zoo.card(EFFICIENTSAM), folder, precision="int8")


def test_int8_is_smaller_says_so_and_answers_nearly_as_the_model(folder: Path, int8: export.Exported) -> None:
    for role in ("encoder", "decoder"):
        assert int8.files[role].stat().st_size < 0.8 * (folder / f"{EFFICIENTSAM}.{role}.onnx").stat().st_size
    assert int8.agreement.logits > 0.01, "else nothing was quantised"
    assert int8.agreement.iou > 0.95
    assert zoo.card(spec(folder, EFFICIENTSAM, ".int8")).note == f"ONNX, int8, exported from {EFFICIENTSAM}"


def test_an_int8_encoder_goes_with_an_fp32_decoder(folder: Path, int8: export.Exported) -> None:
    mixed = spec(folder, EFFICIENTSAM, ".int8", f"{EFFICIENTSAM}.decoder.onnx")
    assert "int8 and fp32" in zoo.card(mixed).note
    assert zoo.load(mixed).embed([image(9, 7)])[0].features.shape == (96, 16, 16)


def test_weights_too_large_for_one_file_lie_beside_it_and_belong_to_it(traced_before, tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(export, "INLINE", 0)
    for precision in ("fp32", "int8"):
        made = export_onnx(zoo.load(EFFICIENTSAM), zoo.card(EFFICIENTSAM), tmp_path, precision=precision)
        assert made.agreement.iou > 0.95
        beside = made.files["encoder"].with_name(made.files["encoder"].name + ".data")
        which = f"onnx:{made.files['encoder']},{made.files['decoder']}"
        assert hash_file(beside) in zoo.load(which).identity["sha256"]
        beside.write_bytes(beside.read_bytes()[:-1] + b"?")
        with pytest.raises(BenchError, match="damaged or of another model"):
            zoo.card(which)


def rerecord(folder: Path, **changes: object) -> None:
    path = folder / f"{EFFICIENTSAM}.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


class TestBadInput:
    def test_not_two_files(self, folder: Path) -> None:
        one = f"onnx:{folder / EFFICIENTSAM}.encoder.onnx"
        for which, count in ((one, "1 file:"), (f"{one},", "1 file:"), (f"{one},a,b", "3 files:")):
            with pytest.raises(BenchError, match=f"names {count} write onnx:ENCODER,DECODER"):
                zoo.card(which)

    def test_no_such_file(self, folder: Path) -> None:
        with pytest.raises(BenchError, match=r"there is no file '.*nowhere.decoder.onnx'"):
            zoo.card(spec(folder, EFFICIENTSAM, decoder="nowhere.decoder.onnx"))

    def test_encoder_and_decoder_swapped(self, name: str) -> None:
        encoder, decoder = name.removeprefix("onnx:").split(",")
        with pytest.raises(BenchError, match="is a decoder where the encoder is expected"):
            zoo.card(f"onnx:{decoder},{encoder}")

    def test_a_decoder_that_is_called_an_encoder(self, folder: Path, name: str) -> None:
        shutil.copyfile(folder / f"{EFFICIENTSAM}.decoder.onnx", folder / f"{EFFICIENTSAM}.encoder.onnx")
        with pytest.raises(BenchError, match="is a decoder where the encoder is expected"):
            zoo.card(name)

    def test_files_of_two_models(self, folder: Path, exported) -> None:
        other = exported(MOBILESAM) / f"{MOBILESAM}.decoder.onnx"
        with pytest.raises(BenchError, match=f"is the encoder of '{EFFICIENTSAM}' and .* decoder of '{MOBILESAM}'"):
            zoo.card(spec(folder, EFFICIENTSAM, decoder=str(other)))

    def test_files_of_two_trainings(self, folder: Path, tmp_path: Path) -> None:
        shutil.copytree(folder, tmp_path / "second")
        rerecord(tmp_path / "second", checkpoint_sha256="0" * 64)
        other = tmp_path / "second" / f"{EFFICIENTSAM}.decoder.onnx"
        with pytest.raises(BenchError, match="the decoder of other weights of it: give both of one model"):
            zoo.card(spec(folder, EFFICIENTSAM, decoder=str(other)))

    def test_another_model_under_the_name_of_this(self, folder: Path, exported, name: str) -> None:
        shutil.copyfile(exported(MOBILESAM) / f"{MOBILESAM}.encoder.onnx", folder / f"{EFFICIENTSAM}.encoder.onnx")
        with pytest.raises(BenchError, match="it is damaged or of another model, export"):
            zoo.card(name)

    def test_a_damaged_file(self, folder: Path, name: str) -> None:
        path = folder / f"{EFFICIENTSAM}.decoder.onnx"
        content = bytearray(path.read_bytes())
        content[len(content) // 2] ^= 1
        path.write_bytes(content)
        with pytest.raises(BenchError, match=r"decoder\.onnx' is not the file that .* it is damaged"):
            zoo.card(name)

    @pytest.mark.parametrize("content", [b"", b"no onnx", None])
    def test_a_damaged_file_that_its_json_tells_of(self, folder: Path, name: str, content: bytes | None) -> None:
        path = folder / f"{EFFICIENTSAM}.encoder.onnx"
        path.write_bytes(path.read_bytes()[:5000] if content is None else content)
        files = json.loads((folder / f"{EFFICIENTSAM}.json").read_text())["sha256"]
        rerecord(folder, sha256=files | {"encoder.onnx": hash_file(path)})
        with pytest.raises(BenchError, match=r"encoder\.onnx' is damaged or no ONNX file"):
            zoo.load(name)

    def test_a_file_of_another_kind_that_its_json_tells_of(self, folder: Path, name: str) -> None:
        path = folder / f"{EFFICIENTSAM}.encoder.onnx"
        decoder = folder / f"{EFFICIENTSAM}.decoder.onnx"
        shutil.copyfile(path, decoder)
        path.write_bytes(path.read_bytes() + b"\x82\x01\x00")  # an unknown, empty field: the same graph, other bytes
        rerecord(folder, sha256={"encoder.onnx": hash_file(path), "decoder.onnx": hash_file(decoder)})
        with pytest.raises(BenchError, match="takes pixels and gives features where features, points, labels and"):
            zoo.load(name)

    def test_an_onnx_file_of_others(self, folder: Path, tmp_path: Path, name: str) -> None:
        theirs = tmp_path / "sam_vit_b.onnx"
        shutil.copyfile(folder / f"{EFFICIENTSAM}.decoder.onnx", theirs)
        with pytest.raises(BenchError, match="an ONNX file of others says not how its images and prompts are prepared"):
            zoo.card(spec(folder, EFFICIENTSAM, decoder=str(theirs)))
        (folder / f"{EFFICIENTSAM}.json").unlink()
        with pytest.raises(BenchError, match=f"has not '{EFFICIENTSAM}.json' beside it"):
            zoo.card(name)

    @pytest.mark.parametrize(
        "changes",
        [
            {"segmenter": "os:system"},
            {"precision": "int4"},
            {"sha256": []},
            {"sha256": {"encoder.onnx": ""}},
            {"image_size": "256"},
            {"scale": None},
            {"model": 5},
        ],
    )
    def test_a_json_that_says_what_no_export_says(self, folder: Path, name: str, changes: dict) -> None:
        rerecord(folder, **changes)
        with pytest.raises(BenchError, match="is not what `bench export` writes, or damaged"):
            zoo.card(name)

    @pytest.mark.parametrize("content", [b"", b"[]", b"{", b"\xff", b"null", b"[" * 100_000])
    def test_a_json_that_is_none(self, folder: Path, name: str, content: bytes) -> None:
        (folder / f"{EFFICIENTSAM}.json").write_bytes(content)
        with pytest.raises(BenchError, match="is not what `bench export` writes, or damaged"):
            zoo.card(name)

    def test_no_onnxruntime(self, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
        find = zoo.importlib.util.find_spec
        said = r"needs the package 'onnxruntime': run `pip install efficientsam-bench\[onnx\]`"
        monkeypatch.setattr(
            zoo.importlib.util, "find_spec", lambda module: None if module == "onnxruntime" else find(module)
        )
        with pytest.raises(BenchError, match=said):
            zoo.load(name)

    def test_a_device_that_onnxruntime_has_not(self, name: str) -> None:
        with pytest.raises(BenchError, match=r"onnxruntime .* cannot compute on 'meta' here: use --device cpu"):
            zoo.load(name, device="meta")

    def test_a_precision_of_the_run(self, name: str) -> None:
        model = zoo.load(name)
        with torch.autocast("cpu", torch.bfloat16), pytest.raises(BenchError, match="has a precision of its own"):
            model.embed([image(9, 7)])


def test_a_model_of_another_kind_is_not_exported(tmp_path: Path) -> None:
    other = ModelCard(name="theirs", paper_row=None, scale="micro", build="theirs:load", filename=None)
    with pytest.raises(BenchError, match="'theirs' cannot be exported: only models of the SAM family"):
        export_onnx(object(), other, tmp_path)


def test_an_export_that_answers_otherwise_is_refused_and_leaves_nothing(traced_before, tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(export, "compare", lambda *given: export.Agreement(1.0, 0.01, 0.9))
    with pytest.raises(BenchError, match=r"does not answer as the model does \(1.00% of mask pixels differ\)"):
        export_onnx(zoo.load(EFFICIENTSAM), zoo.card(EFFICIENTSAM), tmp_path)
    assert list(tmp_path.iterdir()) == []
