"""What a GPU does otherwise than a CPU, for a trace on fake CPU tensors: autocast's list, fused attention, fused dropout.

A trace can't use fake CUDA tensors where there is no driver (autograd asks it for a stream), so CPU tensors are traced and
the three places in which memory would differ are replaced. Sources: torch 2.7, aten/src/ATen/autocast_mode.h (fp32 list of
CUDA), native/transformers/cuda/flash_attn/flash_api.cpp (what attention keeps), native/cuda/Dropout.cu (a mask of bytes).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import torch
from torch.nn import functional
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.overrides import TorchFunctionMode

__all__ = ["FakeGpu"]

# Of CUDA's list of functions that autocast computes in fp32, those that Hugging Face's llama and gpt2 call.
_FP32: Final = frozenset(
    {
        functional.layer_norm,
        functional.softmax,
        torch.layer_norm,
        torch.pow,
        torch.rsqrt,
        torch.softmax,
        torch.Tensor.__pow__,
        torch.Tensor.pow,
        torch.Tensor.rsqrt,
        torch.Tensor.softmax,
    }
)


class FakeGpu(TorchFunctionMode):
    """Inside, CPU autocast follows CUDA's list, sdpa keeps what flash attention keeps, and dropout keeps bytes.

    Args:
        compute: format that autocast casts to; None without autocast.
    """

    def __init__(self, compute: torch.dtype | None) -> None:
        super().__init__()
        self._compute = compute

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """One call of a torch function."""
        kwargs = kwargs or {}
        if func is functional.scaled_dot_product_attention:
            if self._fused(*args[:2], **kwargs):
                return self._attention(*args[:3])
            with sdpa_kernel(SDPBackend.MATH):  # newer torch has a CPU kernel where CUDA has none
                return func(*args, **kwargs)
        if func is functional.dropout:
            return _dropout(*args, **kwargs)
        if func in _FP32 and self._compute is not None:
            args = tuple(_widened(value) for value in args)
            kwargs = {name: _widened(value) for name, value in kwargs.items()}
        return func(*args, **kwargs)

    def _fused(self, query: torch.Tensor, key: torch.Tensor, attn_mask: object = None, **_: object) -> bool:
        """Whether a kernel that never writes the scores takes the call: in fp32 there is none for grouped queries."""
        low = self._compute is not None or query.dtype != torch.float32
        return attn_mask is None and (low or query.shape[1] == key.shape[1])

    def _attention(self, *tensors: torch.Tensor) -> torch.Tensor:
        if self._compute is not None:
            tensors = tuple(tensor.to(self._compute) for tensor in tensors)
        found: torch.Tensor = _FlashAttention.apply(*tensors)  # type: ignore[no-untyped-call]
        return found


def _widened(value: Any) -> Any:
    return value.float() if isinstance(value, torch.Tensor) and value.is_floating_point() else value


def _dropout(values: torch.Tensor, p: float = 0.5, training: bool = True, inplace: bool = False) -> torch.Tensor:  # noqa: ARG001  # as torch's
    if not training or p == 0:
        return values
    return torch.native_dropout(values, p, True)[0]


class _FlashAttention(torch.autograd.Function):
    """Allocations of flash attention; its values are never looked at.

    Forward keeps query, key, value, output and the logarithm of the softmax's sum (fp32, one number a row). Backward holds
    the gradient of the queries in fp32 once more, and those of keys and values for each query head before they are summed
    over a group.
    """

    @staticmethod
    def forward(ctx: Any, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor) -> torch.Tensor:
        """Query [batch, heads, length, size], key and value with fewer heads; output as the query."""
        batch, heads, length, size = query.shape
        out = query.new_empty(batch, length, heads, size).transpose(1, 2)
        ctx.save_for_backward(query, key, value, out, query.new_empty(batch, heads, length, dtype=torch.float32))
        return out

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> tuple[torch.Tensor, ...]:  # noqa: ARG004  # sizes are known
        """Gradients of query, key and value."""
        query, key, value, _, rows = ctx.saved_tensors
        accumulated = torch.empty_like(query, dtype=torch.float32) if query.dtype != torch.float32 else None
        dots = torch.empty_like(rows)
        wide = [torch.empty_like(query) for _ in range(2)] if key.shape != query.shape else []
        found = tuple(torch.empty_like(tensor) for tensor in (query, key, value))
        del accumulated, dots, wide
        return found
