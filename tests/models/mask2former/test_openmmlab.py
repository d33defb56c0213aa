"""mmsegmentation works without mmcv's compiled operators, and says clearly what does not."""

from __future__ import annotations

import importlib
import importlib.util
import sys

import pytest
import torch

from models.errors import BenchError
from models.mask2former import openmmlab
from models.mask2former.openmmlab import EXTENSION, _Operators, import_mmseg

pytest.importorskip("mmseg", reason="the extra `semantic` is not installed")


@pytest.fixture(autouse=True)
def _imported() -> None:
    import_mmseg()


def is_stand_in() -> bool:
    return isinstance(sys.modules.get(EXTENSION), _Operators)


def test_without_compiled_operators_the_stand_in_is_used_everywhere() -> None:
    from mmcv.ops import multi_scale_deform_attn

    if not is_stand_in():
        pytest.skip("mmcv is compiled here")
    assert not multi_scale_deform_attn.IS_CUDA_AVAILABLE  # what would call the compiled operator on a GPU


def test_an_operator_that_is_missing_is_named() -> None:
    from mmcv.ops import RoIAlign, deform_conv2d

    if not is_stand_in():
        pytest.skip("mmcv is compiled here")
    image = torch.zeros(1, 3, 8, 8)
    with pytest.raises(BenchError, match="mmcv's compiled operator 'deform_conv_forward' is not installed"):
        deform_conv2d(image, torch.zeros(1, 18, 8, 8), torch.zeros(4, 3, 3, 3), 1, 1)
    with pytest.raises(BenchError, match="'roi_align_forward'"):
        RoIAlign(2)(image, torch.tensor([[0.0, 0, 0, 4, 4]]))


def test_deformable_attention_equals_sampling_by_hand() -> None:
    """One level, one head, one point: the value at the place, weighted by one."""
    from mmcv.ops.multi_scale_deform_attn import MultiScaleDeformableAttention

    torch.manual_seed(0)
    attention = MultiScaleDeformableAttention(8, num_heads=1, num_levels=1, num_points=1, dropout=0, batch_first=True)
    value = torch.randn(1, 20, 8)
    query = torch.randn(1, 3, 8)
    centres = torch.tensor([[[(2 + 0.5) / 5, (1 + 0.5) / 4]] * 3])[:, :, None].reshape(1, 3, 1, 2)
    attention.sampling_offsets.weight.data.zero_()
    attention.sampling_offsets.bias.data.zero_()
    found = attention(
        query,
        value=value,
        reference_points=centres,
        spatial_shapes=torch.tensor([[4, 5]]),
        level_start_index=torch.tensor([0]),
    )
    by_hand = attention.output_proj(attention.value_proj(value[:, 1 * 5 + 2])) + query
    torch.testing.assert_close(found, by_hand.expand_as(found))


def test_a_compiled_mmcv_is_left_as_it_is(tmp_path, monkeypatch: pytest.MonkeyPatch) -> None:
    import mmcv
    from mmcv.ops import multi_scale_deform_attn

    (tmp_path / "_ext.py").write_text("compiled = True\n")
    monkeypatch.setattr(mmcv, "__path__", [str(tmp_path), *mmcv.__path__])
    monkeypatch.delitem(sys.modules, EXTENSION, raising=False)
    monkeypatch.delattr(mmcv, "_ext", raising=False)
    monkeypatch.setattr(multi_scale_deform_attn, "IS_CUDA_AVAILABLE", True)
    importlib.invalidate_caches()
    import_mmseg.__wrapped__()
    assert not is_stand_in()
    assert importlib.import_module(EXTENSION).compiled
    assert multi_scale_deform_attn.IS_CUDA_AVAILABLE


@pytest.mark.parametrize("package", ["mmdet", "mmseg"])
def test_an_mmcv_too_new_is_one_clear_sentence(package, monkeypatch: pytest.MonkeyPatch) -> None:
    import mmcv

    monkeypatch.setattr(mmcv, "__version__", "2.2.0")
    monkeypatch.delitem(sys.modules, package)
    with pytest.raises(BenchError, match=r"cannot use what is installed \(MMCV==2.2.0.*pip install") as error:
        import_mmseg.__wrapped__()
    assert "\n" not in str(error.value)


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(openmmlab, "NEEDED", ("mmengine", "no_such_package"))
    with pytest.raises(BenchError, match=r"needs no_such_package.*efficientsam-bench\[semantic\]"):
        import_mmseg.__wrapped__()
