from pathlib import Path

import pytest

from bench.paths import cache_dir, data_root, weights_root


def test_the_three_variables_are_obeyed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for variable, folder in (
        ("BENCH_DATA", data_root),
        ("BENCH_WEIGHTS", weights_root),
        ("BENCH_CACHE", cache_dir),
    ):
        monkeypatch.setenv(variable, str(tmp_path / variable))
        assert folder() == tmp_path / variable


@pytest.mark.parametrize("value", [None, "", "  "])
def test_without_variables_there_is_no_data_and_the_weights_are_in_the_cache(
    value: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    for variable in ("BENCH_DATA", "BENCH_WEIGHTS", "BENCH_CACHE"):
        monkeypatch.delenv(variable, raising=False)
        if value is not None:
            monkeypatch.setenv(variable, value)
    assert data_root() is None
    assert weights_root() == cache_dir() / "weights"
    assert cache_dir().name == "efficientsam-bench"


def test_a_tilde_is_the_home_and_a_relative_path_is_made_absolute(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BENCH_DATA", "~/data")
    assert data_root() == Path.home() / "data"
    monkeypatch.setenv("BENCH_DATA", "data")
    assert data_root() == Path.cwd() / "data"
