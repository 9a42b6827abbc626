"""Where all animals of a session's images are, in px of the images that will be cut."""

from typing import Any

import numpy as np
import torch
from jaxtyping import Int

from smilfit.structures import AnimalCentres, Cameras


def plan_centres(
    session: Any, cameras: Cameras, chosen: Int[torch.Tensor, ' n'], n_animals: int | None, undistort: bool
) -> AnimalCentres | None:
    """Return all animals' centres in the chosen frames and cameras; None where there is one animal.

    Args:
        session: a reader; one that knows of several animals has `centres2d`.
        cameras: the kept ones.
        chosen: the frames.
        n_animals: how many there are; None takes the most that are labelled in an image.
        undistort: whether images will be undistorted.

    Raises:
        ValueError: more animals in an image than `n_animals`.
    """
    result = session.centres2d() if hasattr(session, 'centres2d') else None
    if result is None and (n_animals or 1) > 1:
        seen = session.keypoints2d()
        own_points = np.where(seen.visible.numpy()[..., None], seen.xy.numpy(), np.nan)
        result = AnimalCentres.of_keypoints([own_points], n_animals)
    if result is None:
        return None
    rows, names = chosen.numpy(), (cameras if session.cameras is None else session.cameras).names
    keep = [names.index(name) for name in cameras.names]
    result = AnimalCentres(*(x[rows][:, keep] for x in (result.xy, result.known, result.complete)))
    count = result.known.sum(-1)
    if n_animals is not None and count.max(initial=0) > n_animals:
        first = rows[int((count > n_animals).any(1).argmax())]
        raise ValueError(
            f'{session.name}: an image must show at most the {n_animals} animals of --n-animals; frame {first} has '
            f'{count.max()} labelled ones. Say how many there are.'
        )
    xy, inside = torch.from_numpy(result.xy), torch.ones(result.known.shape, dtype=torch.bool)
    if undistort:
        own = cameras if cameras.K.ndim == 3 else cameras[chosen]
        xy, inside = own.undistort(xy)
    known = result.known & inside.numpy()
    complete = result.complete if n_animals is None else count >= n_animals
    return AnimalCentres(np.where(known[..., None], xy.numpy(), 0.0), known, complete)
