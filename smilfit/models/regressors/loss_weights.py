"""Weights of losses, as configs and curricula give them."""

from collections.abc import Mapping


def checked_loss_weights(where: str, weights: Mapping[str, float]) -> dict[str, float]:
    """Give the weights back.

    Raises:
        ValueError: one that is negative or not finite.
    """
    for key, weight in weights.items():
        if not isinstance(weight, (int, float)) or not 0 <= weight < float('inf'):
            raise ValueError(
                f'{where}: the loss weight of {key!r} must be finite and not negative; got {weight!r}. Use 0 to '
                'switch the loss off.'
            )
    return dict(weights)
