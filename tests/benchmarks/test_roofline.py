"""How far a model is from what the processor can do: the figures are shares, and the operations those of the model."""

import json

import pytest
import torch

from benchmarks import roofline


def test_each_part_has_its_operations_and_the_kinds_of_its_operators(tmp_path) -> None:
    out, threads = tmp_path / "roofline.json", torch.get_num_threads()
    roofline.main(models=("efficientsam-ti-micro",), boxes=2, rounds=1, out=out)
    figures = json.loads(out.read_text())["figures"]
    encoder, box = figures["parts"]
    assert (encoder["part"], box["part"]) == ("encoder", "a box")
    assert encoder["gflop"] > box["gflop"] > 0
    assert encoder["ms_at_best"] == pytest.approx(encoder["ms"] * encoder["share_of_best"])
    (of_encoder, of_box) = figures["share of the time by operators, one thread"]
    for row in (of_encoder, of_box):
        assert sum(share for share in row.values() if not isinstance(share, str)) == pytest.approx(1)
        assert row["products"] > row["others"]
    assert torch.get_num_threads() == threads
