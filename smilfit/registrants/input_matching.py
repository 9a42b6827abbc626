"""Every observation meets its handler, or the fit does not begin."""

from collections.abc import Collection, Iterable, Mapping, Sequence

import numpy as np
import torch
from torch import Tensor

from smilfit.handlers import BaseHandler, BaseInput
from smilfit.registrants.stage import Stage
from smilfit.registry import UnknownNameError, did_you_mean
from smilfit.structures import Keypoints2d, Keypoints3d

# What a fit is given: Inputs, or bare keypoints that exactly one handler takes.
GivenInput = BaseInput | Keypoints2d | Keypoints3d
# Frames' numbers in the recording.
FrameNumbers = Sequence[int] | np.ndarray | Tensor


def as_inputs(given: Sequence[GivenInput], handlers: Mapping[str, BaseHandler]) -> list[BaseInput]:
    """Turn bare keypoints into Inputs of the one handler that takes them.

    Raises:
        ValueError: none or several handlers take a structure, or two Inputs have one key.
        TypeError: something that is neither an Input nor keypoints.
    """
    inputs = []
    for item in given:
        if isinstance(item, (Keypoints2d, Keypoints3d)):
            inputs.append(_wrap(item, handlers))
        elif hasattr(item, 'handler_key'):
            inputs.append(item)
        else:
            raise TypeError(
                f'SMPLify: an input must be an Input, Keypoints2d or Keypoints3d; got {type(item).__name__}.'
            )
    keys = [i.handler_key for i in inputs]
    for key in keys:
        if keys.count(key) > 1:
            raise ValueError(
                f'SMPLify: two inputs have the handler_key {key!r}. Join them, or give one its own handler.'
            )
    return inputs


def _wrap(item: Keypoints2d | Keypoints3d, handlers: Mapping[str, BaseHandler]) -> BaseInput:
    takers = [h for h in handlers.values() if h.structure is not None and isinstance(item, h.structure)]
    make = takers[0].input_type if len(takers) == 1 else None
    if make is None:
        raise ValueError(
            f'SMPLify: exactly one handler must take bare {type(item).__name__}; {len(takers)} do '
            f'({[h.handler_key for h in takers]}). Wrap it in an Input with the handler_key you mean.'
        )
    # An Input of keypoints takes them first.
    return make(item, handler_key=takers[0].handler_key)  # type: ignore[call-arg]


def match(
    inputs: Mapping[str, BaseInput], handlers: Mapping[str, BaseHandler], weighted: Collection[str]
) -> None:
    """Check that inputs and handlers meet.

    Raises:
        KeyError: an Input whose key no handler has; a handler that a stage weights and that lacks its Input.
        ValueError: no term at all, or an Input for a prior.
    """
    for key in inputs:
        if key not in handlers:
            raise UnknownNameError(
                f'SMPLify: no handler for the input {key!r}. {did_you_mean(key, handlers)}'
            )
        if not handlers[key].requires_input():
            raise ValueError(f'SMPLify: the handler {key!r} is a prior and takes no input.')
    for key in weighted:
        if handlers[key].requires_input() and key not in inputs:
            raise UnknownNameError(
                f'SMPLify: the handler {key!r} has a weight but no input. Give its input, or the weight 0. '
                f'{did_you_mean(key, inputs)}'
            )
    if not inputs:
        raise ValueError('SMPLify: there must be at least one input; got none. There is nothing to fit to.')


def check_batch(inputs: Mapping[str, BaseInput]) -> int:
    """Return the common batch size.

    Raises:
        ValueError: inputs of different sizes.
    """
    sizes = {key: item.batch_size for key, item in inputs.items()}
    if len(set(sizes.values())) != 1:
        raise ValueError(f'SMPLify: all inputs must have as many frames; got {sizes}.')
    return next(iter(sizes.values()))


def observed_frames(inputs: Mapping[str, BaseInput]) -> Tensor:
    """Return which frames have any observation (B,) bool, on the CPU.

    Raises:
        ValueError: none has.
    """
    return _any_frame(torch.stack([i.observed().cpu() for i in inputs.values()]).any(0))


def counting_frames(
    inputs: Mapping[str, BaseInput],
    handlers: Mapping[str, BaseHandler],
    stages: Iterable[tuple[Stage, Mapping[str, float]]],
) -> Tensor:
    """Return which frames have an observation that has a weight in some stage (B,) bool, on the CPU.

    Where stages weight no observation at all, but priors alone, every observed frame counts.

    Args:
        inputs: named as the model names.
        handlers: by key.
        stages: each with its factors on named keypoints.

    Raises:
        ValueError: none has.
    """
    counted = [
        handlers[key].observed(inputs[key], weights).cpu()
        for stage, weights in stages
        for key in inputs
        if stage.weights.get(key)
    ]
    return _any_frame(torch.stack(counted).any(0)) if counted else observed_frames(inputs)


def _any_frame(observed: Tensor) -> Tensor:
    if not bool(observed.any()):
        raise ValueError(
            f'SMPLify: at least one of {len(observed)} frames must have an observation; none has. Check confidences, '
            'weights, and the names of keypoints.'
        )
    return observed


def numbered(frames: FrameNumbers | None, batch: int) -> Tensor:
    """Return the frames' numbers in the recording; they follow one another if none are given.

    Raises:
        ValueError: not as many numbers as frames.
    """
    if frames is None:
        return torch.arange(batch)
    numbers = torch.as_tensor(np.asarray(frames))
    if len(numbers) != batch:
        raise ValueError(f'SMPLify: frames must number the {batch} frames; got {len(numbers)} numbers.')
    return numbers
