"""hf: against the library's own processor and model, for each family, on tiny random networks and odd image sizes."""

import json
import re
import shutil

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from torchvision.transforms import Compose, Normalize, Resize, ToTensor

from models import zoo
from models.errors import BenchError
from models.segmenter import Prompts, Segmenter, Upscaler
from models.specs import hf
from tests.models.recipe import fill, image

pytest.importorskip("transformers", reason="the extra 'transformers' is not installed")
import transformers

from tests.models.specs import tiny

SIZES = [(77, 101), (300, 211), (1, 3)]
CLOSE = 2e-5
"""Of logits and predicted IoU around 1, float32 through some layers: prompts go in as float32 or float64."""
BOXES = [[5.0, 7.0, 60.5, 50.25], [0.0, 0.0, 101.0, 77.0], [30.0, 20.0, 40.0, 33.0]]
CLICKS = [[[20.0, 30.0], [50.5, 40.0], [3.0, 70.0]], [[90.0, 10.0], [1.0, 1.0], [60.0, 33.0]]]
LABELS = [[1, 0, 1], [1, 1, 0]]


@pytest.fixture(scope="module", params=tiny.CONFIGS)
def saved(request, tmp_path_factory):
    """A family, the folder of its tiny network, and the library's own network and processor."""
    folder = tmp_path_factory.mktemp(request.param)
    network = tiny.save(request.param, folder)
    return request.param, folder, network.eval(), tiny.processor(request.param)


@torch.no_grad()
def library(saved, photo, multimask=True, pixels=None, **prompts):
    """Return logits [P, M, h, w], predicted IoU [P, M] and masks [P, M, H, W] as the library's documentation says."""
    _, _, network, processor = saved
    inputs = processor(images=photo, return_tensors="pt", input_data_format="channels_last", **prompts)
    reshaped = inputs.pop("reshaped_input_sizes", None)
    sizes = inputs.pop("original_sizes")
    if pixels is not None:
        inputs["pixel_values"] = pixels
    answer = network(**inputs, multimask_output=multimask)
    more = [] if reshaped is None else [reshaped]
    (masks,) = processor.post_process_masks(answer.pred_masks, sizes, *more)
    return answer.pred_masks[0], answer.iou_scores[0], masks


def asked(segmenter, photo, prompts, multimask=True):
    (embedding,) = segmenter.embed([photo])
    answer = segmenter.segment(embedding, prompts, multimask=multimask)
    return answer.logits, answer.predicted_iou, segmenter.masks(answer.logits, photo.shape[:2])


def check(ours, theirs):
    torch.testing.assert_close(ours[0], theirs[0], rtol=0, atol=CLOSE)
    torch.testing.assert_close(ours[1], theirs[1], rtol=0, atol=CLOSE)
    assert ours[2].shape == theirs[2].shape
    assert (ours[2] != theirs[2]).float().mean() < 1e-3, "only logits a rounding away from 0 may differ"
    assert 0.001 < theirs[2].float().mean() < 0.999


CASES = {
    "boxes": (Prompts.from_boxes(BOXES), {"input_boxes": [BOXES]}),
    "one click": (
        Prompts([one[:1] for one in CLICKS], [one[:1] for one in LABELS]),
        {"input_points": [[one[:1] for one in CLICKS]], "input_labels": [[one[:1] for one in LABELS]]},
    ),
    "three clicks": (Prompts(CLICKS, LABELS), {"input_points": [CLICKS], "input_labels": [LABELS]}),
    "boxes and clicks": (
        Prompts(np.concatenate([np.reshape(BOXES[:2], (2, 2, 2)), CLICKS], 1), [[2, 3, *one] for one in LABELS]),
        {"input_points": [CLICKS], "input_labels": [LABELS], "input_boxes": [BOXES[:2]]},
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_answers_are_the_library_s_where_it_prepares_the_image(saved, case):
    segmenter = zoo.load(f"hf:{saved[1]}?processor=library")
    prompts, theirs = CASES[case]
    for multimask in (True, False):
        photo = image(77, 101)
        check(asked(segmenter, photo, prompts, multimask), library(saved, photo, multimask, **theirs))


@pytest.mark.parametrize("size", SIZES[1:], ids=str)
def test_answers_are_the_library_s_about_images_of_other_sizes(saved, size):
    segmenter, photo = zoo.load(f"hf:{saved[1]}?processor=library"), image(400, 400)[: size[0], : size[1]]
    click = [[[size[1] / 3, size[0] / 2]]]
    ours = asked(segmenter, photo, Prompts(click, [[1]]))
    theirs = library(saved, photo, input_points=[click], input_labels=[[[1]]])
    torch.testing.assert_close(ours[0], theirs[0], rtol=0, atol=CLOSE)
    assert ours[2].shape == theirs[2].shape == (1, 3, *size)


def test_answers_are_the_library_s_about_the_image_that_we_prepare(saved):
    segmenter, photo = zoo.load(f"hf:{saved[1]}"), image(77, 101)
    prompts, theirs = CASES["boxes"]
    check(asked(segmenter, photo, prompts), library(saved, photo, pixels=segmenter.preprocess(photo), **theirs))


def test_our_image_is_the_library_s_but_for_its_rounding_to_grey_levels(saved):
    own, theirs = (zoo.load(f"hf:{saved[1]}?processor={who}").preprocess(image(77, 101)) for who in hf.PROCESSORS)
    grey_level = 1 / 255 / 0.22
    assert own.shape == theirs.shape
    assert 0 < (own - theirs).abs().max() <= 2 * grey_level


def test_a_mask_prompt_goes_with_its_own_prompt(saved):
    """The library takes one mask an image: it is asked prompt by prompt."""
    network = saved[2]
    segmenter, photo = zoo.load(f"hf:{saved[1]}"), image(77, 101)
    prompts = CASES["boxes"][0]
    (embedding,) = segmenter.embed([photo])
    first = segmenter.segment(embedding, prompts).logits[:, 1]
    again = segmenter.segment(embedding, Prompts(prompts.points, prompts.labels, first))
    plain = segmenter.segment(embedding, prompts)
    assert (again.logits - plain.logits).abs().max() > 1e-3
    for row, box in enumerate(BOXES):
        inputs = saved[3](images=photo, input_boxes=[[box]], return_tensors="pt")
        with torch.no_grad():
            answer = network(
                pixel_values=segmenter.preprocess(photo),
                input_boxes=inputs["input_boxes"].float(),
                input_masks=first[row][None, None],
            )
        torch.testing.assert_close(again.logits[row], answer.pred_masks[0, 0], rtol=0, atol=CLOSE)
        torch.testing.assert_close(again.predicted_iou[row], answer.iou_scores[0, 0], rtol=0, atol=CLOSE)


def test_fed_back_logits_are_bounded_as_the_authors_code_returns_them(saved):
    segmenter = zoo.load(f"hf:{saved[1]}")
    (embedding,) = segmenter.embed([image(77, 101)])
    prompts = CASES["boxes"][0]
    side = 4 * embedding.features.shape[-1]

    def refined(value):
        return segmenter.segment(embedding, Prompts(prompts.points, prompts.labels, torch.full((3, side, side), value)))

    bounded = hf.FAMILIES[saved[0]].clamp is not None
    assert torch.equal(refined(32.0).logits, refined(90.0).logits) == bounded


def test_answers_do_not_depend_on_how_many_prompts_are_asked_together(saved, monkeypatch):
    segmenter, photo = zoo.load(f"hf:{saved[1]}"), image(77, 101)
    prompts = Prompts.from_boxes(np.tile(BOXES, (3, 1)) + np.arange(9)[:, None])
    whole = asked(segmenter, photo, prompts)
    monkeypatch.setattr("models.specs.hf_segmenter._FEATURES_AT_ONCE", 1)
    check(asked(segmenter, photo, prompts), whole)
    nothing = asked(segmenter, photo, prompts[:0])
    assert nothing[2].shape == (0, 3, 77, 101)


def test_padding_and_mixed_prompts_get_what_each_gets_alone(saved):
    segmenter, photo = zoo.load(f"hf:{saved[1]}"), image(77, 101)
    points = np.array([[[5, 7], [60, 50], [9, 9]], [[20, 30], [0, 0], [0, 0]], [[5, 7], [60, 50], [0, 0]]], float)
    labels = np.array([[2, 3, 1], [1, -1, -1], [1, 0, -1]])
    together = asked(segmenter, photo, Prompts(points, labels))
    for row, kept in enumerate((3, 1, 2)):
        alone = asked(segmenter, photo, Prompts(points[row : row + 1, :kept], labels[row : row + 1, :kept]))
        torch.testing.assert_close(together[0][row], alone[0][0], rtol=0, atol=CLOSE)


def test_half_a_box_is_refused(saved):
    segmenter = zoo.load(f"hf:{saved[1]}")
    (embedding,) = segmenter.embed([image(40, 40)])
    with pytest.raises(BenchError, match=r"a prompt has the labels \[2, 1\]: give no corner of a box"):
        segmenter.segment(embedding, Prompts(np.ones((1, 2, 2)), [[2, 1]]))


def test_the_contract_is_held(saved):
    segmenter = zoo.load(f"hf:{saved[1]}")
    assert isinstance(segmenter, Segmenter)
    assert isinstance(segmenter, Upscaler)
    logits = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    assert torch.equal(segmenter.masks(logits, (31, 45)), segmenter.threshold(segmenter.upscale(logits, (31, 45))))


def test_what_decides_the_answers_is_told(saved, tmp_path):
    family, folder, *_ = saved
    segmenter = zoo.load(f"hf:{folder}")
    assert segmenter.identity["files"].keys() == {"config.json", "model.safetensors"}
    assert segmenter.identity["processor"] == "own"
    assert segmenter.checkpoint_sha256 == segmenter.identity["files"]["model.safetensors"]
    with_library = zoo.load(f"hf:{folder}?processor=library").identity
    assert with_library["processor"] == "library"
    assert any("processor" in name for name in with_library["files"])
    assert "models.specs.hf_segmenter" in zoo.modules(f"hf:{folder}")
    card = zoo.card(f"hf:{folder}")
    assert str(tiny.SIDE[family]) in card.input


def test_the_squashed_frame_is_that_of_sam_2_s_transforms():
    """What SAM2Transforms is made of, at the sizes of SAM 2 and SAM 3."""
    for family in ("sam2", "sam3_tracker"):
        from models.specs.hf_segmenter import frame_of

        side = 1008 if family == "sam3_tracker" else 1024
        mean, std = ((0.5,) * 3, (0.5,) * 3) if side == 1008 else ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
        photo = image(333, 517)
        theirs = Compose([ToTensor(), Resize((side, side)), Normalize(mean, std)])(photo)
        ours = frame_of(hf.FAMILIES[family], side).pixels(photo, torch.device("cpu"))[0]
        torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-6)


@pytest.mark.parametrize(("family", "whole"), [("sam2", "Sam2Video"), ("edgetam", "EdgeTamVideo")])
def test_the_image_part_of_a_whole_tracker_is_taken(family, whole, tmp_path):
    """As the Hub has SAM 2.1 and EdgeTAM."""
    parts = tiny.CONFIGS[family]().to_dict()
    config = getattr(transformers, f"{whole}Config")(
        image_size=tiny.SIDE[family],
        **{part: parts[part] for part in ("vision_config", "prompt_encoder_config", "mask_decoder_config")},
    )
    tracker = fill(getattr(transformers, f"{whole}Model")(config))
    tracker.save_pretrained(tmp_path / "tracker")
    image_part = getattr(transformers, hf.FAMILIES[family].model)(tiny.CONFIGS[family]())
    image_part.load_state_dict({name: entry for name, entry in tracker.state_dict().items()}, strict=False)
    image_part.save_pretrained(tmp_path / "image")
    assert json.loads((tmp_path / "tracker/config.json").read_text())["model_type"] == f"{family}_video"
    answers = [
        asked(zoo.load(f"hf:{tmp_path / part}"), image(77, 101), CASES["boxes"][0]) for part in ("tracker", "image")
    ]
    assert torch.equal(answers[0][0], answers[1][0])


def test_the_tracker_of_a_sam_3_with_its_detector_is_taken(tmp_path):
    """As the Hub has SAM 3: the image encoder lies with the detector, its neck and the rest with the tracker."""
    tiny.save("sam3_tracker", tmp_path / "alone")
    shutil.copytree(tmp_path / "alone", tmp_path / "whole")
    state = {}
    for name, entry in load_file(tmp_path / "whole/model.safetensors").items():
        place = re.sub(r"^tracker_model\.(detector_model|tracker_neck)\.", r"\1.", name)
        state[place] = entry
    assert {name.partition(".")[0] for name in state} == {"detector_model", "tracker_neck", "tracker_model"}
    state["detector_model.text_encoder.weight"] = torch.ones(3)
    save_file(state, tmp_path / "whole/model.safetensors", {"format": "pt"})
    config = json.loads((tmp_path / "alone/config.json").read_text())
    whole = {"model_type": "sam3_video", "tracker_config": config}
    (tmp_path / "whole/config.json").write_text(json.dumps(whole))
    answers = [
        asked(zoo.load(f"hf:{tmp_path / part}"), image(77, 101), CASES["boxes"][0]) for part in ("whole", "alone")
    ]
    assert torch.equal(answers[0][0], answers[1][0])


def test_without_the_extra_the_way_to_get_it_is_told(sam, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert zoo.available(f"hf:{sam}") == (
        False,
        f"model 'hf:{sam}' needs the package 'transformers': run `pip install efficientsam-bench[transformers]`",
    )


@pytest.fixture
def sam(tmp_path):
    """A folder with a tiny SAM."""
    tiny.save("sam", tmp_path / "sam")
    return tmp_path / "sam"


def test_weights_that_are_not_there_are_never_random(sam):
    path = sam / "model.safetensors"
    state = load_file(path)
    del state["mask_decoder.iou_token.weight"]
    save_file(state, path, {"format": "pt"})
    with pytest.raises(BenchError, match=r"lacks 1 of the weights of a SAM \(mask_decoder.iou_token.weight"):
        zoo.load(f"hf:{sam}")


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda folder: (folder / "config.json").unlink(), "holds no model, it has no config.json"),
        (lambda folder: (folder / "config.json").write_text("{"), "cannot be read as JSON"),
        (lambda folder: (folder / "config.json").write_text("[]"), "is no configuration of a model"),
        (
            lambda folder: (folder / "config.json").write_text(json.dumps({"model_type": "bert"})),
            "is a model of type 'bert', which answers no prompts here: name one of SAM, SAM-HQ, SAM 2, EdgeTAM, SAM 3",
        ),
        (
            lambda folder: (folder / "model.safetensors").unlink(),
            "has no safetensors here, and other weights are not read",
        ),
        (lambda folder: (folder / "model.safetensors").write_bytes(b"no"), "cannot be loaded as SAM"),
        (
            lambda folder: (folder / "config.json").write_text(json.dumps({"model_type": "sam2"})),
            "(cannot be loaded as|lacks .* of the weights of a) SAM 2",
        ),
    ],
)
def test_a_folder_that_is_no_promptable_model_gets_a_sentence(sam, spoil, said):
    spoil(sam)
    with pytest.raises(BenchError, match=said):
        zoo.load(f"hf:{sam}")


def test_an_unknown_option_and_an_unfit_processor_get_a_sentence(sam):
    with pytest.raises(BenchError, match=r"has the option 'dtype=half': it takes \?processor=own or"):
        zoo.card(f"hf:{sam}?dtype=half")
    for file in sam.glob("*processor_config.json"):
        file.write_text(file.read_text().replace("256", "128"))
    segmenter = zoo.load(f"hf:{sam}?processor=library")
    with pytest.raises(BenchError, match=r"makes inputs \[1, 3, 128, 128\], its network takes \[1, 3, 256, 256\]"):
        segmenter.embed([image(40, 40)])


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("hf:no/such-model", "'no/such-model' is no folder, not in the Hub's cache, and the Hub cannot be reached"),
        ("hf:no/such@v1", "'no/such' at revision 'v1' is no folder"),
        ("hf:./no/such/folder", "there is no folder './no/such/folder'"),
    ],
)
def test_a_hub_id_without_a_network_gets_a_sentence(name, said, monkeypatch, tmp_path):
    import huggingface_hub

    def unreachable(*arguments, **options):
        raise huggingface_hub.errors.LocalEntryNotFoundError("no network")

    monkeypatch.setattr(huggingface_hub, "snapshot_download", unreachable)
    with pytest.raises(BenchError, match=said):
        zoo.card(name)


def test_a_model_of_the_hub_is_told_by_its_commit(sam, tmp_path, monkeypatch):
    import huggingface_hub

    commit = tmp_path / ("c0ffee" * 6 + "abcd")
    shutil.copytree(sam, commit)
    wanted = []

    def fetched(place, *, revision, allow_patterns):
        wanted.append((place, revision))
        return str(commit)

    monkeypatch.setattr(huggingface_hub, "snapshot_download", fetched)
    hf._fetch.cache_clear()
    segmenter = zoo.load("hf:theirs/sam-of-a-test@v1")
    assert segmenter.identity["revision"] == commit.name
    assert set(wanted) == {("theirs/sam-of-a-test", "v1")}
