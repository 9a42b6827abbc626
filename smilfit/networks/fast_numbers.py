"""Which number type and memory layout a device is fast with."""

from dataclasses import dataclass

import torch


@dataclass(frozen=True)
class FastNumbers:
    """What to run a convolutional network with.

    `autocast` is the type for `torch.autocast`, None for none; `memory_format` that of images and weights.
    """

    autocast: torch.dtype | None
    memory_format: torch.memory_format


def fast_numbers(device: torch.device | str) -> FastNumbers:
    """Choose by what the device computes itself: bfloat16 where it has instructions for it, channels last beside it.

    bfloat16 that is emulated (a CPU without AVX512-BF16 or AMX, a GPU before Ampere) is slower than float32.
    """
    kind = torch.device(device).type
    if kind == 'cuda':
        own = torch.cuda.get_device_capability(device)[0] >= 8
        layout = (
            torch.channels_last
            if torch.cuda.get_device_capability(device)[0] >= 7
            else torch.contiguous_format
        )
        return FastNumbers(torch.bfloat16 if own else None, layout)
    if kind == 'cpu':
        own = any(_cpu_has(name) for name in ('_is_avx512_bf16_supported', '_is_amx_tile_supported'))
        layout = torch.channels_last if torch.backends.mkldnn.is_available() else torch.contiguous_format
        return FastNumbers(torch.bfloat16 if own else None, layout)
    return FastNumbers(None, torch.contiguous_format)


def _cpu_has(name: str) -> bool:
    # Names of torch's own checks begin with an underscore and have come version by version.
    check = getattr(torch.cpu, name, None)
    return bool(check()) if check is not None else False
