"""Checkpoint files: only whole, published (or asked for), fitting and finite weights get into a network."""

from __future__ import annotations

import os
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
    with pytest.raises(BenchError, match="holds Python objects"):
        checkpoints.read_state_dict(path, TI)
    assert not trace.exists()


@pytest.mark.parametrize("content", [[1, 2], {"model": 3}, {"epoch": 3, "optimizer": {}}])
def test_a_file_without_a_state_dict_is_refused(tmp_path: Path, content: object) -> None:
    with pytest.raises(BenchError, match="holds no state dict"):
        checkpoints.read_state_dict(saved(content, tmp_path / "x.pt"), TI)


def test_the_hash_of_a_large_file_is_computed_once_until_the_file_changes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checkpoints, "_HASH_CACHED_FROM", 4)
    path = tmp_path / "large.pt"
    path.write_bytes(b"first")
    hashed: list[Path] = []
    monkeypatch.setattr(checkpoints, "hash_file", lambda path: hashed.append(path) or f"{len(hashed):064}")
    assert checkpoints.sha256_of(path) == checkpoints.sha256_of(path) == f"{1:064}"
    path.write_bytes(b"second")
    assert checkpoints.sha256_of(path) == f"{2:064}"
    checkpoints.forget_hash(path)
    assert checkpoints.sha256_of(path) == f"{3:064}"


@pytest.mark.parametrize("damage", ["", "5", "garbage in the file", "5 5 abc"])
def test_a_damaged_note_of_a_hash_is_ignored(tmp_path: Path, damage: str) -> None:
    path = tmp_path / "x.pt"
    path.write_bytes(b"12345")
    path.with_name("x.pt.sha256").write_text(damage)
    assert checkpoints.sha256_of(path) == checkpoints.hash_file(path)


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
