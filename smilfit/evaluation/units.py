"""Units of length in names and texts. An unknown unit is stated, never guessed."""

from smilfit.structures.body import MILLIMETRES

UNKNOWN_UNIT = 'unknown unit'


def unit_suffix(unit: str | None) -> str:
    """Return a unit as the end of a name: `mpjpe_mm`, `mpjpe_unknown_unit`."""
    return (unit or UNKNOWN_UNIT).strip().replace(' ', '_')


def length_text(value: int | float, unit: str | None) -> str:
    """Write a length with its unit, or say that the unit is not known."""
    return f'{value:.3g} {unit}' if unit else f'{value:.3g} ({UNKNOWN_UNIT})'


def to_mm(value: int | float, unit: str | None, where: str = 'to_mm') -> float:
    """Convert a length to millimetres.

    Raises:
        ValueError: the unit is not known, so there is no number in mm.
    """
    if unit not in MILLIMETRES:
        raise ValueError(
            f'{where}: the unit must be one of {", ".join(MILLIMETRES)} for lengths in mm; got {unit!r}. '
            "State the unit in the session's calibration, or read the lengths in the session's own unit."
        )
    return value * MILLIMETRES[unit]
