"""Checkpoint files: only whole, published (or asked for), fitting and finite weights get into a network."""

from __future__ import annotations

import hashlib
import os
import time
from dataclasses import replace
from pathlib import Path

import pytest
import safetensors.torch
import torch
from torch import Tensor, nn

from bench import paths
from models import checkpoints, micro
from models.cards import CARDS, ModelCard
from models.errors import BenchError
from models.files import hashes
from tests.models.recipe import fill

TI = next(card for card in CARDS if card.name == "efficientsam-ti-micro")
TI = replace(TI, filename="ti.pt", url="http://host/ti.pt", sha256=None, bytes=None)


@pytest.fixture(scope="module")
def network() -> nn.Module:
    return fill(micro.efficientsam_ti_micro())


@pytest.fixture
def state(network: nn.Module) -> dict[str, Tensor]:
    return dict(network.state_dict())


def saved(state: object, path: Path) -> Path:
    torch.save(state, path)
    return path


def filled(path: Path, card: ModelCard = TI) -> nn.Module:
    network = micro.efficientsam_ti_micro()
    checkpoints.fill(network, checkpoints.read_state_dict(path, card), card=card, path=path)
    return network


def test_the_three_layouts_give_the_same_network(state: dict[str, Tensor], tmp_path: Path) -> None:
    tensors = tmp_path / "c.safetensors"
    safetensors.torch.save_file(state, tensors)
    for path in (saved({"model": state}, tmp_path / "a.pt"), saved(state, tmp_path / "b.pt"), tensors):
        for name, entry in filled(path).state_dict().items():
            assert torch.equal(entry, state[name])


def test_a_missing_file_says_how_to_get_it_and_where_it_belongs(tmp_path: Path) -> None:
    with pytest.raises(BenchError, match=r"bench weights fetch efficientsam-ti-micro.*http://host/ti.pt to '.*ti.pt'"):
        checkpoints.read_state_dict(tmp_path / "ti.pt", TI)


@pytest.mark.parametrize("kept", [0, 10, 0.5, -1])
@pytest.mark.parametrize("suffix", [".pt", ".safetensors"])
def test_a_truncated_file_says_how_much_of_it_is_there(
    state: dict[str, Tensor], tmp_path: Path, kept: float, suffix: str
) -> None:
    path = tmp_path / f"cut{suffix}"
    if suffix == ".pt":
        saved({"model": state}, path)
    else:
        safetensors.torch.save_file(state, path)
    whole = path.stat().st_size
    size = int(whole * kept) if kept == 0.5 else int(kept) % whole
    os.truncate(path, size)
    card = replace(TI, bytes=whole)
    with pytest.raises(BenchError, match=f"cut short or damaged, it has {size:,} of {whole:,} bytes"):
        filled(path, card)
    with pytest.raises(BenchError, match=f"{size:,} of {whole:,} bytes"):
        checkpoints.check(card, path)


def test_a_file_that_is_not_the_published_one_is_refused(state: dict[str, Tensor], tmp_path: Path) -> None:
    path = saved(state, tmp_path / "ti.pt")
    digest = checkpoints.hash_file(path)
    assert checkpoints.check(TI, path) == digest
    assert checkpoints.check(replace(TI, sha256=digest), path) == digest
    with pytest.raises(BenchError, match=f"its sha256 is {digest} instead of {'0' * 64}: pass its path"):
        checkpoints.check(replace(TI, sha256="0" * 64), path)


def test_a_checkpoint_of_another_model_is_recognised(tmp_path: Path) -> None:
    other = fill(micro.efficientsam_s_micro())
    path = saved({"model": other.state_dict()}, tmp_path / "s.pt")
    with pytest.raises(BenchError) as caught:
        filled(path)
    said = str(caught.value)
    assert "does not fit 'efficientsam-ti-micro'" in said
    assert "it is one of 'efficientsam-s-micro'" in said
    assert "of another shape: image_encoder.pos_embed [1, 197, " in said


def test_a_checkpoint_of_no_known_model_shows_what_differs(state: dict[str, Tensor], tmp_path: Path) -> None:
    state["extra"] = state.pop("mask_decoder.iou_token.weight")
    with pytest.raises(BenchError) as caught:
        filled(saved(state, tmp_path / "x.pt"))
    said = str(caught.value)
    assert "(1 missing: mask_decoder.iou_token.weight; 1 unexpected: extra)" in said
    assert "check which model it was made for" in said


@pytest.mark.parametrize("poison", [torch.nan, torch.inf])
def test_nan_weights_are_refused_and_nothing_is_loaded(state: dict[str, Tensor], tmp_path: Path, poison: float) -> None:
    name = "image_encoder.blocks.1.mlp.fc2.bias"
    state[name] = state[name].clone()
    state[name][3] = poison
    path = saved(state, tmp_path / "nan.pt")
    network = micro.efficientsam_ti_micro()
    before = {key: entry.clone() for key, entry in network.state_dict().items()}
    with pytest.raises(BenchError, match=f"NaN or infinite values in {name}"):
        checkpoints.fill(network, checkpoints.read_state_dict(path, TI), card=TI, path=path)
    assert all(torch.equal(entry, before[key]) for key, entry in network.state_dict().items())


class Touch:
    """Unpickling one leaves a file behind."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, tuple[Path]]:
        return Path.touch, (self.path,)


def test_code_in_a_checkpoint_is_not_run(tmp_path: Path) -> None:
    trace = tmp_path / "ran"
    path = saved({"model": Touch(trace)}, tmp_path / "evil.pt")
    with pytest.raises(BenchError, match=r"asks to run code as it is read \("):
        checkpoints.read_state_dict(path, TI)
    assert not trace.exists()


@pytest.mark.parametrize("content", [[1, 2], {"model": 3}, {"epoch": 3, "optimizer": {}}])
def test_a_file_without_a_state_dict_is_refused(tmp_path: Path, content: object) -> None:
    with pytest.raises(BenchError, match="holds no state dict"):
        checkpoints.read_state_dict(saved(content, tmp_path / "x.pt"), TI)


@pytest.mark.parametrize("dtype", [torch.int8, torch.uint8, torch.int16, torch.int32, torch.int64, torch.bool])
@pytest.mark.parametrize("suffix", [".pt", ".safetensors"])
def test_integers_are_no_weights(state: dict[str, Tensor], tmp_path: Path, dtype: torch.dtype, suffix: str) -> None:
    name, path = "image_encoder.blocks.1.mlp.fc2.weight", tmp_path / f"q{suffix}"
    state[name] = (state[name] * 100).to(dtype)
    safetensors.torch.save_file(state, path) if suffix == ".safetensors" else saved(state, path)
    said = rf"no floating-point weights in {name} \({str(dtype).removeprefix('torch.')}\): it is quantised"
    with pytest.raises(BenchError, match=said):
        filled(path)


def test_eight_bit_floats_and_quantised_tensors_are_no_weights(state: dict[str, Tensor], tmp_path: Path) -> None:
    name = "image_encoder.blocks.1.mlp.fc2.weight"
    for odd in (state[name].to(torch.float8_e4m3fn), torch.quantize_per_tensor(state[name], 0.1, 0, torch.qint8)):
        with pytest.raises(BenchError, match=r"it is quantised|holds no state dict"):
            filled(saved({**state, name: odd}, tmp_path / "q.pt"))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_weights_of_other_precision_are_read(state: dict[str, Tensor], tmp_path: Path, dtype: torch.dtype) -> None:
    other = {name: value.to(dtype) for name, value in state.items()}
    found = filled(saved(other, tmp_path / "x.pt")).state_dict()
    assert all(torch.equal(found[name], other[name].float()) for name in state)


def test_numbers_that_overflow_as_they_are_copied_are_refused(state: dict[str, Tensor], tmp_path: Path) -> None:
    name = "image_encoder.blocks.1.mlp.fc2.bias"
    state[name] = torch.full_like(state[name], 1e300, dtype=torch.float64)
    with pytest.raises(BenchError, match=f"NaN or infinite values in {name}"):
        filled(saved(state, tmp_path / "x.pt"))


@pytest.mark.parametrize("odd", [torch.zeros(2, 2, device="meta"), torch.eye(2).to_sparse()])
def test_a_tensor_without_numbers_of_its_own_is_refused(tmp_path: Path, odd: Tensor) -> None:
    with pytest.raises(BenchError, match="holds no state dict"):
        checkpoints.read_state_dict(saved({"a": odd}, tmp_path / "x.pt"), TI)


@pytest.fixture
def large(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file whose hash is remembered, and a cache of its own."""
    monkeypatch.setattr(checkpoints, "_REMEMBERED_FROM", 4)
    monkeypatch.setenv("BENCH_CACHE", str(tmp_path / "cache"))
    path = tmp_path / "weights" / "large.pt"
    path.parent.mkdir()
    path.write_bytes(b"first")
    return path


def test_the_hash_of_a_large_file_is_computed_once(large: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hashed: list[Path] = []
    monkeypatch.setattr(hashes, "hash_file", lambda path: hashed.append(path) or f"{len(hashed):064}")
    assert checkpoints.sha256_of(large) == checkpoints.sha256_of(large) == f"{1:064}"
    hashes.forget_hash(large)
    assert checkpoints.sha256_of(large) == f"{2:064}"


@pytest.mark.parametrize("way", ["another inode", "in place"])
def test_another_content_of_the_same_size_and_time_is_noticed(large: Path, tmp_path: Path, way: str) -> None:
    first, before = checkpoints.sha256_of(large), large.stat()
    time.sleep(0.05)  # ctime has the clock's ticks
    if way == "in place":
        large.write_bytes(b"again")
    else:
        (tmp_path / "other").write_bytes(b"again")
        os.replace(tmp_path / "other", large)
    os.utime(large, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert checkpoints.sha256_of(large) == hashlib.sha256(b"again").hexdigest() != first


def test_a_user_s_own_note_of_a_hash_is_neither_read_nor_written(large: Path) -> None:
    facts, theirs = large.stat(), large.with_name("large.pt.sha256")
    theirs.write_text(f"{facts.st_size} {facts.st_mtime_ns} {'0' * 64}")
    before = theirs.read_bytes()
    for _ in range(2):
        assert checkpoints.sha256_of(large) == checkpoints.hash_file(large)
    assert theirs.read_bytes() == before
    assert {path.name for path in large.parent.iterdir()} == {"large.pt", "large.pt.sha256"}


@pytest.mark.parametrize("damage", ["", "5", "garbage", '{"file": 5}', "[" * 100_000, '{"file": null, "sha256": 5}'])
def test_a_damaged_memory_of_a_hash_is_ignored(large: Path, damage: str) -> None:
    checkpoints.sha256_of(large)
    hashes.memory_of(large).write_text(damage)
    assert checkpoints.sha256_of(large) == checkpoints.hash_file(large)


def test_without_a_cache_folder_hashes_are_computed(large: Path, tmp_path: Path) -> None:
    (tmp_path / "cache").write_text("a file where the folder should be")
    assert checkpoints.sha256_of(large) == checkpoints.hash_file(large)


@pytest.mark.parametrize(
    "environment",
    [{}, {"BENCH_CACHE": "/c"}, {"BENCH_WEIGHTS": "~/w"}, {"BENCH_WEIGHTS": "/w", "BENCH_CACHE": "/c"}],
)
def test_models_and_bench_agree_on_the_weights_folder(
    environment: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for variable in ("BENCH_WEIGHTS", "BENCH_CACHE"):
        monkeypatch.delenv(variable, raising=False)
    for variable, value in environment.items():
        monkeypatch.setenv(variable, value)
    assert checkpoints.weights_root() == paths.weights_root()
