"""Hand tensors to Warp's kernels without a copy. Imported only where warp is used."""

# Warp's kernels are annotated by values, made for a float type: no checker knows them as types.
# mypy: disable-error-code="valid-type"

from functools import cache
from types import SimpleNamespace
from typing import no_type_check

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


@no_type_check
@cache
def plane_functions(scalar):
    """Make the functions of one float type."""
    vec2 = wp.types.vector(length=2, dtype=scalar)
    vec3 = wp.types.vector(length=3, dtype=scalar)
    # Beyond any image, and within an integer's range.
    far = wp.constant(scalar(1e9))

    @wp.func
    def cross(u: vec2, v: vec2):
        return u[0] * v[1] - u[1] * v[0]

    @wp.func
    def pixel_box(low: vec2, high: vec2, margin: scalar, width: int, height: int):
        """Return the first and the last pixel (x, y, x, y) within a margin of a box, of those in the image."""
        return wp.vec4i(
            wp.max(wp.int32(wp.ceil(wp.clamp(low[0] - margin, -far, far))), 0),
            wp.max(wp.int32(wp.ceil(wp.clamp(low[1] - margin, -far, far))), 0),
            wp.min(wp.int32(wp.floor(wp.clamp(high[0] + margin, -far, far))), width - 1),
            wp.min(wp.int32(wp.floor(wp.clamp(high[1] + margin, -far, far))), height - 1),
        )

    return SimpleNamespace(vec2=vec2, vec3=vec3, cross=cross, pixel_box=pixel_box)
