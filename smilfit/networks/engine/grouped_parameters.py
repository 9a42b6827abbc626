"""Parameters of equal options in one group: an optimiser's step is a few calls instead of one a tensor."""

import logging
from typing import Any

from mmengine.logging import MMLogger
from mmengine.optim import DefaultOptimWrapperConstructor
from torch import nn

from smilfit.registry import OPTIM_WRAPPER_CONSTRUCTORS

_PARAMS = 'params'


@OPTIM_WRAPPER_CONSTRUCTORS.register_module()
class GroupedOptimWrapperConstructor(DefaultOptimWrapperConstructor):
    """mmengine's constructor, with its arguments, which makes a group of every parameter; these are joined.

    Groups are in the order of their first parameter.
    """

    def add_params(
        self, params: list[dict[str, Any]], module: nn.Module, prefix: str = '', **kwargs: Any
    ) -> None:
        """Collect the groups of a module's parameters."""
        if prefix:
            super().add_params(params, module, prefix=prefix, **kwargs)
            return
        log, frozen = MMLogger.get_current_instance(), _FrozenLines()
        log.addFilter(frozen)
        try:
            super().add_params(params, module, prefix=prefix, **kwargs)
        finally:
            log.removeFilter(frozen)
        if frozen.count:
            log.info('%d weights are frozen: the optimiser leaves them out.', frozen.count)
        params[:] = joined(params)


class _FrozenLines(logging.Filter):
    """Counts mmengine's lines on frozen weights, one each, in their place."""

    def __init__(self) -> None:
        super().__init__()
        self.count = 0

    def filter(self, record: logging.LogRecord) -> bool:
        frozen = 'is skipped since its requires_grad=False' in record.getMessage()
        self.count += frozen
        return not frozen


def joined(groups: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Join groups of the same options."""
    result: dict[str, dict[str, Any]] = {}
    for group in groups:
        options = {k: v for k, v in group.items() if k != _PARAMS}
        alike = repr(sorted(options.items()))
        result.setdefault(alike, {_PARAMS: [], **options})[_PARAMS] += group[_PARAMS]
    return list(result.values())
