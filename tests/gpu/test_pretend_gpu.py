"""The pretended GPU raises where a real one does, and counts every wait."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from tests.pretend_gpu import CUDA, on_gpu, pretend_gpu


@pytest.fixture
def gpu():
    with pretend_gpu() as memory:
        yield memory


def on_cuda() -> torch.Tensor:
    return torch.arange(1.0, 4.0, device="cuda")


MIXED = {
    "sum": lambda x: x + torch.ones(3),
    "in place": lambda x: torch.ones(3).add_(x),
    "a number of the GPU's into the CPU's": lambda x: torch.ones(3) * x[0],
    "a number of the CPU's changed by the GPU's": lambda x: torch.ones(()).add_(x[0]),
    "cat": lambda x: torch.cat([x, torch.ones(3)]),
    "stack of numbers": lambda x: torch.stack([x[0], torch.ones(())]),
    "product of matrices": lambda x: x[None] @ torch.ones(3, 2),
    "where": lambda x: torch.where(x > 1, x, torch.ones(3)),
    "gather": lambda x: x.gather(0, torch.zeros(1, dtype=torch.long)),
    "an index on the GPU": lambda x: torch.ones(3)[x.long() - 1],
    "a mask on the GPU": lambda x: torch.ones(3)[x > 1],
    "values at an index": lambda x: x.index_put_((torch.tensor([0, 1]),), torch.ones(2)),
    "a layer left behind": lambda x: torch.nn.Linear(3, 2)(x),
    "a function in Python": lambda x: F.cross_entropy(x[None], torch.zeros(1, dtype=torch.long)),
    "an operator of torchvision": lambda x: torch.ops.torchvision.nms(torch.rand(3, 4), x, 0.5),
    "a generator of the CPU": lambda x: torch.rand(3, generator=torch.Generator(), device="cuda"),
    "noise of a generator of the CPU": lambda x: x.normal_(generator=torch.Generator()),
}


@pytest.mark.parametrize("mix", MIXED)
def test_what_mixes_devices_raises(gpu, mix) -> None:
    with pytest.raises(RuntimeError, match=r"devices|indices should be|generator"):
        MIXED[mix](on_cuda())


def test_what_may_be_mixed_is_on_the_gpu(gpu) -> None:
    x = on_cuda()
    assert on_gpu([x + torch.ones(()), x[torch.tensor([0, 2])], x.masked_fill(x > 1, torch.tensor(0.0)), 2 * x])


def test_numpy_without_a_copy_raises(gpu) -> None:
    for take in (torch.Tensor.numpy, np.asarray):
        with pytest.raises(TypeError, match="numpy"):
            take(on_cuda())


WAITS = {
    "item": lambda x: x.sum().item(),
    "bool": lambda x: bool(x.any()),
    "float": lambda x: float(x[0]),
    "int": lambda x: int(x[0]),
    "a number as index": lambda x: x[x[0].long()],
    "tolist": lambda x: x.tolist(),
    "cpu": lambda x: x.cpu(),
    "to": lambda x: x.to("cpu", torch.float64),
    "copy": lambda x: torch.zeros(3).copy_(x),
    "a part": lambda x: torch.zeros(5)[:3].copy_(x),
    "mask": lambda x: x[x > 0],
    "nonzero": lambda x: x.nonzero(),
    "where": lambda x: torch.where(x > 0),
    "masked_select": lambda x: x.masked_select(x > 0),
    "unique": lambda x: x.unique(),
    "repeat": lambda x: torch.repeat_interleave(x.long()),
    "equal": lambda x: torch.equal(x, x),
    "nms": lambda x: torch.ops.torchvision.nms(x.new_ones(3, 4), x, 0.5),
}


@pytest.mark.parametrize("inference", [True, False])
@pytest.mark.parametrize("wait", WAITS)
def test_every_way_to_wait_is_counted_once(gpu, wait, inference) -> None:
    with torch.inference_mode(inference):
        x = on_cuda()
        gpu.waits.clear()
        WAITS[wait](x)
    assert gpu.waits.total() == 1


def test_what_stays_on_the_gpu_is_not_counted(gpu) -> None:
    x = on_cuda()
    x[x > 0] = 1
    assert (x.cumsum(0).argmax() + x.to("cuda")).device == CUDA
    assert gpu.waits.total() == 0


def test_what_never_was_on_the_gpu_is_on_the_cpu(gpu) -> None:
    x = torch.arange(3) * 2
    assert not x.is_cuda
    assert x.is_cpu
    assert x.tolist() == [0, 2, 4]
    assert gpu.waits.total() == 0


MADE = {
    "zeros": lambda x: torch.zeros(3, device="cuda"),
    "tensor": lambda x: torch.tensor([1, 2], device="cuda:0"),
    "as_tensor": lambda x: torch.as_tensor(np.ones(3), device=x.device),
    "like": lambda x: torch.rand_like(x),
    "new": lambda x: x.new_tensor([1, 2]),
    "new by another": lambda x: torch.ones(3).new_zeros(2, device="cuda"),
    "view": lambda x: x[None, 1:].T,
    "cuda": lambda x: torch.ones(3).cuda(),
    "to another": lambda x: torch.ones(3).to(x),
    "parameter": lambda x: torch.nn.Parameter(x),
    "detached": lambda x: x.detach(),
    "module": lambda x: list(torch.nn.Linear(2, 3).to(x.device).parameters()),
    "module to a tensor": lambda x: list(torch.nn.Linear(2, 3).to(x).parameters()),
    "padded": lambda x: F.pad(x, (1, 1)),
    "one-hot": lambda x: F.one_hot(x.long(), 5),
}


@pytest.mark.parametrize("make", MADE)
def test_results_are_where_they_were_made(gpu, make) -> None:
    assert on_gpu(MADE[make](on_cuda()))


BACK = {
    "cpu": lambda x: x.cpu(),
    "to": lambda x: x.to("cpu"),
    "as_tensor": lambda x: torch.as_tensor(x, device="cpu"),
    "like": lambda x: torch.zeros_like(x, device="cpu"),
    "new": lambda x: x.new_zeros(3, device="cpu"),
    "zeros": lambda x: torch.zeros(x.shape),
}


@pytest.mark.parametrize("bring", BACK)
def test_what_is_asked_for_on_the_cpu_is_there(gpu, bring) -> None:
    assert (BACK[bring](on_cuda()) + torch.ones(3)).device.type == "cpu"


def test_gradients_are_where_their_tensors_are(gpu) -> None:
    here, there = torch.ones(3, requires_grad=True), on_cuda().requires_grad_()
    (here.to("cuda") * there[[0, 2, 1]]).relu().sum().backward()
    assert here.grad.device.type == "cpu"
    assert on_gpu(there.grad)
    assert here.grad.tolist() == [1, 3, 2]


def test_a_weight_is_forgotten_with_its_memory(gpu) -> None:
    for _ in range(5000):
        torch.ones(1, device="cuda")
    assert len(gpu._storages) < 4999
    assert not torch.ones(1).is_cuda


@pytest.mark.parametrize("inference", [True, False])
def test_mixed_precision_is_that_of_the_cpu_to_the_bit(inference) -> None:
    def answer(device: str) -> torch.Tensor:
        torch.manual_seed(0)
        x, layer = torch.randn(2, 4, 8).to(device), torch.nn.TransformerEncoderLayer(8, 2, 16).to(device).eval()
        with torch.inference_mode(inference), torch.autocast(device, torch.bfloat16):
            return torch.einsum("abc,cd->abd", layer(x), layer.linear1.weight.T)

    expected = answer("cpu")
    with pretend_gpu():
        found = answer("cuda")
    assert found.dtype == expected.dtype == torch.bfloat16
    assert torch.equal(found, expected)
