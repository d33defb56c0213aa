"""`bench data render` draws the worlds it is asked for."""

from pathlib import Path

import pytest

from bench.cli import data
from models.errors import BenchError


def test_the_worlds_that_are_named_are_drawn(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture) -> None:
    monkeypatch.setattr(data, "WORLDS", {name: lambda name=name: Path("/cache") / name for name in data.WORLDS})
    data.render()
    assert capsys.readouterr().out.split() == ["/cache/coco", "/cache/detection", "/cache/ade20k", "/cache/imagenet"]
    data.render(("imagenet",))
    assert capsys.readouterr().out.split() == ["/cache/imagenet"]
    with pytest.raises(BenchError, match="unknown world 'lvis'"):
        data.render(("coco", "lvis"))
    assert capsys.readouterr().out == ""
