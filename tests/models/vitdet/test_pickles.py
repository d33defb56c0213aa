"""detectron2's pickles of arrays: numbers are read, anything else is refused before NumPy sees it."""

from __future__ import annotations

import pickle
from collections import OrderedDict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from models.cards import ModelCard
from models.errors import BenchError
from models.vitdet.checkpoint import read_entries
from tests.models.hostile import KINDS, Calls, hostile

CARD = ModelCard("vitdet-test", "row", "paper", "", None)
ARRAYS = {
    "c": np.arange(6, dtype=np.float32).reshape(2, 3),
    "fortran": np.asfortranarray(np.arange(6.0).reshape(2, 3)),
    "big endian": np.arange(3, dtype=">f4"),
    "half": np.array([1.5], np.float16),
    "scalar": np.array(2.0, np.float32),
    "counts": np.array([3]),
}


def written(path: Path, content: Any, protocol: int = 4) -> Path:
    path.write_bytes(content if isinstance(content, bytes) else pickle.dumps(content, protocol))
    return path


@pytest.mark.parametrize(
    ("protocol", "suffix"), [*((protocol, ".pkl") for protocol in range(5)), (2, ".pth"), (4, ".safetensors")]
)
def test_arrays_are_read_whoever_wrote_them(tmp_path: Path, protocol: int, suffix: str) -> None:
    content = {"model": OrderedDict(ARRAYS), "best": np.float64(3), "__author__": "somebody"}
    found = read_entries(written(tmp_path / f"x{suffix}", content, protocol), CARD)
    assert found.keys() == ARRAYS.keys()
    assert all(np.array_equal(found[name].numpy(), ARRAYS[name]) for name in ARRAYS)


def test_a_torch_file_called_pkl_is_read(tmp_path: Path) -> None:
    torch.save({"model": {"a": torch.ones(2)}}, tmp_path / "x.pkl")
    assert read_entries(tmp_path / "x.pkl", CARD).keys() == {"a"}


@pytest.mark.parametrize("protocol", [0, 2, 4, 5])
@pytest.mark.parametrize("kind", KINDS)
def test_a_pickle_that_asks_to_run_code_is_called_that(tmp_path: Path, kind: str, protocol: int) -> None:
    evil, asks = hostile(tmp_path / "ran")[kind]
    with pytest.raises(BenchError, match=rf"asks to run code as it is read \({asks}"):
        read_entries(written(tmp_path / "x.pkl", {"model": {"a": evil}}, protocol), CARD)
    assert not (tmp_path / "ran").exists()


SMALL = pickle.dumps({"model": {"a": np.ones(3, np.float32)}}, 2)
FOREIGN = b"12345678" * 64
REFUSED = {
    "objects": ({"a": np.array([1, "x"], dtype=object)}, "holds 'O8' instead of numbers"),
    "texts": ({"a": np.array(["abc"])}, "holds 'U3' instead of numbers"),
    "records": ({"a": np.zeros(3, dtype=[("a", "f4")])}, "holds 'V4' instead of numbers"),
    "complex": ({"a": np.ones(3, complex)}, "holds 'c16' instead of numbers"),
    "objects over a buffer": ({"a": Calls(np.ndarray, (64,), "O", FOREIGN)}, "memory that is not its own"),
    "numbers over a buffer": ({"a": Calls(np.ndarray, (64,), "f8", FOREIGN)}, "memory that is not its own"),
    "steps over a buffer": ({"a": Calls(np.ndarray, (9,), "f8", FOREIGN, 0, (1 << 40,))}, "memory that is not its own"),
    "a name that is no text": ({1: np.ones(3)}, "holds no names and arrays"),
    "a value that is no array": ({"a": 3}, "holds no names and arrays"),
    "a huge shape": (SMALL.replace(b"K\x03\x85", b"J\xff\xff\xff\x7f\x85"), "has another number of bytes"),
    "a negative shape": (SMALL.replace(b"K\x03\x85", b"J\xff\xff\xff\xff\x85"), "has an impossible shape"),
    "an enormous memo": (b"\x80\x02}r\xff\xff\xff\x7f.", "holds no names and arrays"),
    "bytes that are not there": (b"\x80\x04\x8e" + (1 << 45).to_bytes(8, "little") + b"x.", "no pickle of arrays"),
    "room that nobody has": (b"\x80\x05\x96" + (1 << 45).to_bytes(8, "little") + b"x.", "no pickle of arrays"),
    "no bytes": (b"", "it is empty"),
    "zeros": (bytes(1000), "no pickle of arrays"),
    "a list": (pickle.dumps([1, 2]), "holds no names and arrays"),
    "a web page": (b"<html><body>404</body></html>", "is a web page"),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_what_is_no_state_of_numbers_is_refused(tmp_path: Path, kind: str) -> None:
    content, said = REFUSED[kind]
    path = written(tmp_path / "x.pkl", content if isinstance(content, bytes) else {"model": content})
    with pytest.raises(BenchError, match=said):
        read_entries(path, CARD)


def test_a_pickle_cut_anywhere_is_refused(tmp_path: Path) -> None:
    for size in range(len(SMALL)):
        with pytest.raises(BenchError):
            read_entries(written(tmp_path / "x.pkl", SMALL[:size]), CARD)
