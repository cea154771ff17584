import pytest
import torch

from stap.models.tanh import tanh_


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
def test_equals_tanh(dtype: torch.dtype) -> None:
    values = torch.cat(
        [torch.linspace(-100, 100, 999), torch.linspace(-1, 1, 999), torch.tensor([float("inf"), -float("inf")])]
    ).to(dtype)
    found = tanh_(values.clone())
    assert found.dtype == dtype
    torch.testing.assert_close(found, torch.tanh(values), rtol=0, atol=2 * torch.finfo(dtype).eps)
    assert tanh_(torch.tensor([float("nan")], dtype=dtype)).isnan().all()
