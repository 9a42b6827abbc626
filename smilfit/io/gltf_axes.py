"""From a model's axes and unit to those of glTF: metres, y up."""

import numpy as np


def world_matrix(metres: float | None, up: str | None) -> np.ndarray | None:
    """Give what takes the world to glTF's: metres, and y up where it is known what points up."""
    if metres is None and up is None:
        return None
    turn = np.eye(3)
    if up is not None:
        axis = 'xyz'.index(up[-1])
        # Of y, z, x: an even change of axes keeps right and left.
        turn = np.eye(3)[[(axis + 2) % 3, axis, (axis + 1) % 3]]
        if up.startswith('-'):
            turn = np.diag([-1.0, -1.0, 1.0]) @ turn
    matrix = np.eye(4)
    matrix[:3, :3] = (metres or 1.0) * turn
    return matrix
