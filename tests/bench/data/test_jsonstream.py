import json
import math
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bench.data.jsonstream import Source, stream
from models.errors import BenchError

TMP = settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60, deadline=None)

LEAVES = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text()
VALUES = st.recursive(LEAVES, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=12)


def read(path: Path, text: str | bytes, chunk: int = 1 << 20, batch: int = 3) -> dict[str, list[object]]:
    """Write a file and gather what the stream says of it."""
    path.write_bytes(text.encode("utf-8", "surrogatepass") if isinstance(text, str) else text)
    found: dict[str, list[object]] = {}
    for key, elements in stream(Source(path, "download it again"), batch=batch, chunk=chunk):
        found.setdefault(key, []).extend(elements)
    return found


@TMP
@given(st.dictionaries(st.text(), VALUES), st.integers(1, 40), st.booleans(), st.sampled_from([None, 1]))
def test_arrays_of_an_object_come_as_json_loads_reads_them(
    tmp_path: Path, document: dict[str, object], chunk: int, ascii_only: bool, indent: int | None
) -> None:
    text = json.dumps(document, ensure_ascii=ascii_only, indent=indent)
    if not ascii_only:
        text = text.encode("utf-8", "replace").decode()
    expected = {key: value for key, value in json.loads(text).items() if isinstance(value, list)}
    assert read(tmp_path / "x.json", text, chunk) == expected


@TMP
@given(st.lists(VALUES), st.integers(1, 40))
def test_a_list_at_the_top_level_has_the_empty_key(tmp_path: Path, document: list[object], chunk: int) -> None:
    assert read(tmp_path / "x.json", json.dumps(document), chunk) == {"": document}


def test_batches_are_full_but_for_the_last(tmp_path: Path) -> None:
    (tmp_path / "x.json").write_text('{"a": [1, 2, 3, 4, 5], "b": []}')
    batches = list(stream(Source(tmp_path / "x.json", ""), batch=2))
    assert batches == [("a", [1, 2]), ("a", [3, 4]), ("a", [5]), ("b", [])]


DOCUMENT = {
    "info": {"ä€": '\u20ac \\ " \n'},
    "a": [{"x": [1.5e-7, -2, True, None]}, "ü" * 9, 12.25],
    "n": -3.5e9,
}


@pytest.mark.parametrize("ascii_only", [True, False])
@pytest.mark.parametrize("chunk", [1, 7, 1 << 20])
def test_a_file_cut_at_any_byte_is_said_to_end_in_the_middle(chunk: int, ascii_only: bool, tmp_path: Path) -> None:
    whole = json.dumps(DOCUMENT, ensure_ascii=ascii_only).encode()
    for cut in range(1, len(whole)):
        with pytest.raises(BenchError, match=rf"ends in the middle of a value at byte \d+ of {cut}: download it"):
            read(tmp_path / "x.json", whole[:cut], chunk)


def test_the_byte_of_a_cut_is_where_the_unfinished_value_begins(tmp_path: Path) -> None:
    whole = json.dumps({"é": [{"id": 1}, {"id": 2}, {"id": 3}]}, ensure_ascii=False).encode()
    start = whole.index(b'{"id": 3')
    with pytest.raises(BenchError, match=f"at byte {start} of {start + 5}:"):
        read(tmp_path / "x.json", whole[: start + 5], chunk=8)


@pytest.mark.parametrize(
    "text,byte",
    [
        ('{"a": [1, 2 3]}', 12),
        ('{"a": [1, }', 10),
        ('{"a": [{"b": x, "c": 1}], "d": "a long rest of the file"}', 13),
        ("{'a': 1}", 1),
        ('{"a": [1, 2],}', 13),
        ('{"a" [1]}', 5),
        ("<html><body>404</body></html>", 0),
        ('{"a": []} {"b": []}', 10),
        ('{"a": ["\tnot allowed in a string"]}', 8),
        ('"just a string"', 0),
    ],
)
@pytest.mark.parametrize("chunk", [1, 1 << 20])
def test_what_is_not_json_is_named_by_its_byte(text: str, byte: int, chunk: int, tmp_path: Path) -> None:
    with pytest.raises(BenchError, match=rf"x\.json is not JSON at byte {byte} of {len(text)} \("):
        read(tmp_path / "x.json", text, chunk)


def test_mistakes_far_into_a_file_are_found_without_reading_on(tmp_path: Path) -> None:
    text = '{"a": [' + "1, " * 1000 + "oops, " + "1, " * 1000 + "1]}"
    with pytest.raises(BenchError, match=f"not JSON at byte {text.index('oops'):,} of {len(text):,}"):
        read(tmp_path / "x.json", text, chunk=64)


def test_an_empty_file_and_a_compressed_one_are_told_apart(tmp_path: Path) -> None:
    with pytest.raises(BenchError, match=r"x\.json is empty: download"):
        read(tmp_path / "x.json", b"")
    with pytest.raises(BenchError, match="not text at byte 1 of 6: unpack it if it is compressed"):
        read(tmp_path / "x.json", b"\x1f\x8b\x08\x00\x00\x00")
    with pytest.raises(BenchError, match="not text at byte 9 of 14"):
        read(tmp_path / "x.json", b'{"a": ["a\xff"  ]', chunk=3)


def test_nan_and_infinity_as_python_writes_them_are_numbers(tmp_path: Path) -> None:
    first, second = read(tmp_path / "x.json", json.dumps([math.nan, -math.inf]), chunk=2)[""]
    assert isinstance(first, float)
    assert math.isnan(first)
    assert second == -math.inf


def test_a_value_longer_than_many_chunks_is_read_whole(tmp_path: Path) -> None:
    document = {"a": [{"counts": "x" * 5000, "size": list(range(500))}] * 3}
    assert read(tmp_path / "x.json", json.dumps(document), chunk=16) == document


def test_absurd_nesting_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(BenchError, match="nested too deeply"):
        read(tmp_path / "x.json", "[" * 200_000)
