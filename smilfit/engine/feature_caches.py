"""Before a training whose backbone says of every image what it said before: do images come again as they were?"""

from collections.abc import Iterator
from typing import Any

from torch import nn

from smilfit.models import FeatureCache


def check_feature_caches(model: nn.Module, dataset: Any) -> None:
    """Check that a training set gives the same images in every epoch, and tell the caches how many there are.

    A model without a cache passes. What the model itself makes of images is its own to check.

    Raises:
        ValueError: a transform that changes images.
    """
    caches = [m.cache for m in model.modules() if isinstance(getattr(m, 'cache', None), FeatureCache)]
    if not caches:
        return
    for transform in _transforms_of(dataset):
        if not getattr(transform, 'keeps_images', False):
            raise ValueError(
                'train_dataloader.dataset.transforms: images whose features are kept must come again as they were; '
                f'{type(transform).__name__} changes them. Set transforms=[], or leave the cache of the backbone '
                'out.'
            )
    count, augment = getattr(dataset, 'n_images', None), getattr(model, 'augment', None)
    for cache in caches:
        cache.n_expected = None if count is None else count * (getattr(augment, 'n_versions', None) or 1)


def _transforms_of(dataset: Any) -> Iterator[Any]:
    yield from getattr(dataset, 'transforms', ())
    for part in getattr(dataset, 'datasets', ()):
        yield from _transforms_of(part)
