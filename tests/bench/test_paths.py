import os
from pathlib import Path

import pytest

from bench.paths import cache_dir, data_root, runs_root, weights_root
from models.errors import BenchError

VARIABLES = {"BENCH_DATA": data_root, "BENCH_WEIGHTS": weights_root, "BENCH_CACHE": cache_dir, "BENCH_RUNS": runs_root}


@pytest.fixture
def homeless(monkeypatch: pytest.MonkeyPatch) -> None:
    """A container's user: no HOME, no line in /etc/passwd, no variable of ours."""
    pwd = pytest.importorskip("pwd")

    def unknown(uid: int) -> None:
        raise KeyError(f"getpwuid(): uid not found: {uid}")

    monkeypatch.setattr(pwd, "getpwuid", unknown)
    for name in ("HOME", "XDG_CACHE_HOME", *VARIABLES):
        monkeypatch.delenv(name, raising=False)


@pytest.mark.parametrize("variable", VARIABLES)
def test_the_variables_are_obeyed(variable: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(variable, str(tmp_path / variable))
    assert VARIABLES[variable]() == tmp_path / variable


@pytest.mark.parametrize("value", [None, "", "  "])
def test_without_variables_there_is_no_data_and_the_weights_are_in_the_cache(
    value: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    for variable in VARIABLES:
        monkeypatch.delenv(variable, raising=False)
        if value is not None:
            monkeypatch.setenv(variable, value)
    assert data_root() is None
    assert weights_root() == cache_dir() / "weights"
    assert cache_dir().name == "efficientsam-bench"
    assert runs_root() == Path("runs")


def test_a_tilde_is_the_home_and_a_relative_path_is_made_absolute(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BENCH_DATA", "~/data")
    assert data_root() == Path.home() / "data"
    monkeypatch.setenv("BENCH_DATA", "data")
    assert data_root() == Path.cwd() / "data"
    monkeypatch.setenv("BENCH_RUNS", "~/runs")
    assert runs_root() == Path.home() / "runs"


@pytest.mark.parametrize("variable", VARIABLES)
@pytest.mark.parametrize("value", ["~nosuchuser", "~nosuchuser/data"])
def test_the_home_of_nobody_is_a_sentence(variable: str, value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(variable, value)
    with pytest.raises(BenchError, match=f"{variable} is '{value}', but this machine knows no such home folder"):
        VARIABLES[variable]()


@pytest.mark.parametrize("variable", VARIABLES)
def test_one_without_a_home_may_not_say_tilde(variable: str, homeless: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(variable, "~/here")
    with pytest.raises(BenchError, match=f"{variable} is '~/here'"):
        VARIABLES[variable]()


def test_without_a_home_the_cache_must_be_named_and_that_suffices(
    homeless: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for folder in (cache_dir, weights_root):
        with pytest.raises(BenchError, match="no home folder, so there is no cache: set BENCH_CACHE"):
            folder()
    monkeypatch.setenv("BENCH_WEIGHTS", os.fspath(tmp_path / "w"))
    assert weights_root() == tmp_path / "w"
    monkeypatch.delenv("BENCH_WEIGHTS")
    monkeypatch.setenv("BENCH_CACHE", os.fspath(tmp_path))
    assert weights_root() == tmp_path / "weights"
