"""What the settings of a registration may be: numbers in a range."""

import math
from typing import Any


def check_number(
    where: str, name: str, value: Any, low: float, high: float = math.inf, whole: bool = False
) -> None:
    """Check a number of a config.

    Args:
        where: what it belongs to, for the message.
        name: of the setting.
        value: what was given.
        low: it must be above, or, if it is a whole number, at least so much.
        high: the most.
        whole: whether it must be a whole number.

    Raises:
        ValueError: no number, no finite one, or one out of the range.
    """
    number = isinstance(value, int if whole else (int, float)) and not isinstance(value, bool)
    if number and math.isfinite(value) and (low <= value if whole else low < value) and value <= high:
        return
    kind = f'a whole number, {low:g} or more' if whole else f'a number above {low:g}'
    most = '' if math.isinf(high) else f', at most {high:g}'
    raise ValueError(f'{where}: {name} must be {kind}{most}; got {value!r}. Correct it in the config.')
