"""Weights files are what their content says: read, or called by their own name; and none of them is run."""

from __future__ import annotations

import gzip
import io
import pickle
import tarfile
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import torch
from torch import Tensor, nn

from models import checkpoints
from models.cards import CARDS
from models.errors import BenchError
from models.files import containers
from tests.models.hostile import KINDS, hostile

CARD = replace(CARDS[0], filename="x.pt", sha256=None, bytes=None)
STATE = {"a.weight": torch.arange(6.0).reshape(2, 3), "a.bias": torch.ones(2)}


def read(path: Path) -> dict[str, Tensor]:
    return checkpoints.read_state_dict(path, CARD)


def torch_bytes(content: object = STATE, **options: object) -> bytes:
    file = io.BytesIO()
    torch.save(content, file, **options)
    return file.getvalue()


def zipped(**members: bytes) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return file.getvalue()


def tarred(content: bytes, mode: str) -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode=mode) as tar:
        info = tarfile.TarInfo("x.pt")
        info.size = len(content)
        tar.addfile(info, io.BytesIO(content))
    return file.getvalue()


def script() -> bytes:
    file = io.BytesIO()
    torch.jit.save(torch.jit.script(nn.Linear(3, 2)), file)
    return file.getvalue()


READ = {
    "torch": torch_bytes,
    "torch before 1.6": lambda: torch_bytes(_use_new_zipfile_serialization=False),
    "safetensors": lambda: safetensors.torch.save(STATE),
    "zip as published": lambda: zipped(
        **{"weights/x.pt": torch_bytes(), "__MACOSX/weights/._x.pt": b"", "README": b""}
    ),
    "zip of safetensors": lambda: zipped(**{"x.safetensors": safetensors.torch.save(STATE)}),
    "gzip": lambda: gzip.compress(torch_bytes()),
    "gzip of safetensors": lambda: gzip.compress(safetensors.torch.save(STATE)),
    "gzip of a zip": lambda: gzip.compress(zipped(**{"x.pt": torch_bytes()})),
}


@pytest.mark.parametrize("suffix", [".pt", ".pth", ".safetensors", ".bin", ".zip", ".gz", ""])
@pytest.mark.parametrize("kind", READ)
def test_a_checkpoint_is_read_whatever_it_is_called(tmp_path: Path, kind: str, suffix: str) -> None:
    path = tmp_path / f"x{suffix}"
    path.write_bytes(READ[kind]())
    found = read(path)
    assert found.keys() == STATE.keys()
    assert all(torch.equal(found[name], STATE[name]) for name in STATE)


@pytest.mark.parametrize(
    "wrapped", ["module.", "_orig_mod.", "module._orig_mod.", "_orig_mod.module.", "module.module."]
)
@pytest.mark.parametrize("key", [None, "model", "state_dict", "ema"])
def test_what_wrappers_put_before_all_names_is_left_out(tmp_path: Path, wrapped: str, key: str | None) -> None:
    state = {f"{wrapped}{name}": value for name, value in STATE.items()}
    (tmp_path / "x.pt").write_bytes(torch_bytes({key: state, "epoch": 3} if key else state))
    assert read(tmp_path / "x.pt").keys() == STATE.keys()


def test_a_beginning_that_not_all_names_have_is_part_of_them(tmp_path: Path) -> None:
    state = {"module.a": torch.ones(1), "b": torch.ones(1)}
    (tmp_path / "x.pt").write_bytes(torch_bytes(state))
    assert read(tmp_path / "x.pt").keys() == state.keys()


def test_a_dictionary_that_holds_itself_ends(tmp_path: Path) -> None:
    endless: dict[str, object] = {}
    endless["model"] = endless
    (tmp_path / "x.pt").write_bytes(torch_bytes(endless))
    with pytest.raises(BenchError, match="holds no state dict"):
        read(tmp_path / "x.pt")


LFS = b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 375042383\n"
NAMED = {
    "a TorchScript archive": script,
    "a tar archive": lambda: tarred(torch_bytes(), "w"),
    "a tar archive ": lambda: tarred(torch_bytes(), "w:gz"),
    "a web page": lambda: b"\n <!DOCTYPE html><html><body>Sign in</body></html>",
    "a web page ": lambda: b"<html>\n<head><title>404</title></head></html>",
    "a Git LFS pointer": lambda: LFS,
    "an ONNX model": lambda: b"\x08\x08\x12\x07pytorch\x1a\x052.1.0:\xf0\x9c\x03\n" + bytes(100),
    "a JSON text": lambda: b'{"error": "not found"}',
    "a text instead of a checkpoint ('Not Found')": lambda: b"Not Found",
    "a NumPy array": lambda: npy(),
    "compressed with xz": lambda: b"\xfd7zXZ\0" + bytes(50),
    "it is empty": lambda: b"",
    "it holds none": lambda: zipped(**{"README.txt": b"hello"}),
    "it holds 2 (a.pt, b.pt)": lambda: zipped(**{"a.pt": torch_bytes(), "b.pt": torch_bytes()}),
    "an archive that cannot be unpacked": lambda: gzip.compress(torch_bytes())[:-200],
    "a pickle that torch did not write": lambda: pickle.dumps({"a": np.ones(3)}),
}


def npy() -> bytes:
    file = io.BytesIO()
    np.save(file, np.ones(3))
    return file.getvalue()


@pytest.mark.parametrize("suffix", [".pt", ".safetensors"])
@pytest.mark.parametrize("kind", NAMED)
def test_another_kind_of_file_is_called_what_it_is(tmp_path: Path, kind: str, suffix: str) -> None:
    path = tmp_path / f"x{suffix}"
    path.write_bytes(NAMED[kind]())
    with pytest.raises(BenchError) as caught:
        read(path)
    assert kind.strip() in str(caught.value)
    assert "delete" not in str(caught.value)


def test_an_archive_that_unpacks_to_far_more_than_weights_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(containers, "_UNPACKED", 1 << 20)
    for content in (gzip.compress(bytes(1 << 23)), zipped(**{"x.pt": bytes(1 << 23)})):
        (tmp_path / "x.pt").write_bytes(content)
        with pytest.raises(BenchError, match="unpacks to more than"):
            read(tmp_path / "x.pt")


@pytest.mark.parametrize("suffix", [".pt", ".safetensors", ".pkl"])
@pytest.mark.parametrize("form", ["torch", "torch before 1.6", "bare", "protocol 0", "zipped"])
@pytest.mark.parametrize("kind", KINDS)
def test_a_file_that_asks_to_run_code_is_called_that_and_not_run(
    tmp_path: Path, kind: str, form: str, suffix: str
) -> None:
    trace, path = tmp_path / "ran", tmp_path / f"x{suffix}"
    evil, asks = hostile(trace)[kind]
    content = {"model": {"a": torch.ones(2), "b": evil}}
    path.write_bytes(
        {
            "torch": lambda: torch_bytes(content),
            "torch before 1.6": lambda: torch_bytes(content, _use_new_zipfile_serialization=False),
            "bare": lambda: pickle.dumps(evil, 4),
            "protocol 0": lambda: pickle.dumps({"model": evil}, 0),
            "zipped": lambda: zipped(**{"x.pt": torch_bytes(evil)}),
        }[form]()
    )
    with pytest.raises(BenchError, match=rf"asks to run code as it is read \(.*{asks}"):
        read(path)
    assert not trace.exists()


def test_no_file_of_the_user_s_is_recommended_for_deletion(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BENCH_WEIGHTS", str(tmp_path / "weights"))
    (tmp_path / "mine.pt").write_bytes(torch_bytes()[:300])
    with pytest.raises(BenchError, match=r"cut short or damaged.*: give a whole copy of it$"):
        read(tmp_path / "mine.pt")
