"""Hand tensors to Warp's kernels without a copy. Imported only where warp is used."""

import torch
import warp as wp
from torch import Tensor

from smilfit.geometry.quiet_warp import quietly

# Multiply-adds in one instruction: warp's own default keeps products and sums apart.
OPTIONS = {'cpu_compiler_flags': f'{wp.config.cpu_compiler_flags} -ffp-contract=fast'}


def scalar_of(tensor: Tensor) -> type:
    """Return the kernels' float type for a tensor's."""
    return wp.float64 if tensor.dtype == torch.float64 else wp.float32


def view(tensor: Tensor, dtype: type | None = None) -> wp.array:
    """View a contiguous tensor as a warp array of numbers or of vectors."""
    with quietly():
        # It gives no array only where it is asked for a C type.
        return wp.from_torch(tensor.detach().contiguous(), dtype=dtype, requires_grad=False)  # type: ignore[return-value]


def launch(kernel: wp.Kernel, n_threads: int, inputs: list, device: torch.device) -> None:
    """Launch a kernel, on CUDA in torch's stream; without warp's announcements of version and compilations."""
    if n_threads == 0:
        return
    with quietly():
        place = wp.get_device(str(device))
        stream = wp.stream_from_torch(torch.cuda.current_stream(device)) if place.is_cuda else None
        wp.launch(kernel, dim=n_threads, inputs=inputs, device=place, stream=stream)
