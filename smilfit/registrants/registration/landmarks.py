"""Points of a scan that are known by name, as places of the body's surface."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from scipy.sparse import csr_matrix
from scipy.spatial import cKDTree

from smilfit.body_models import BodyModelData
from smilfit.body_models.keypoint_rows import keypoint_definitions
from smilfit.registrants.registration.limb_curves import LimbCurves
from smilfit.registrants.registration.scan import Scan
from smilfit.registrants.registration.surface_terms import PlaceTargets
from smilfit.registry import UnknownNameError, did_you_mean

# How well a landmark is known, share of the scan's extent, and of how many such a difference counts fully: in the
# first stages nearly any, so that landmarks lead; then few, so that one wrong name does not bend the body.
LANDMARK_SIGMA, LEADING, TRUSTED = 0.01, 30.0, 3.0


def landmark_places(scan: Scan, data: BodyModelData, robust: float) -> PlaceTargets | None:
    """Give a scan's landmarks as places of the body's vertices; None for a scan without.

    Raises:
        UnknownNameError: a landmark that the body does not have, with the near names.
    """
    if not scan.landmarks:
        return None
    known = keypoint_definitions(data)
    rows = csr_matrix(np.stack([_landmark_row(data, known, name) for name in scan.landmarks]))
    targets = np.array(list(scan.landmarks.values()), dtype=np.float64)
    n = len(targets)
    return PlaceTargets(rows, targets, np.full(n, LANDMARK_SIGMA * scan.extent), np.full(n, robust))


def known_pairs(
    places: PlaceTargets | None, body: LimbCurves, scan: Scan, scan_curves: LimbCurves
) -> tuple[tuple[int, int], ...]:
    """Pair those limbs of body and scan that hold the same landmark.

    Args:
        places: landmarks; None for none.
        body: limbs of the body.
        scan: the scan.
        scan_curves: its limbs.
    """
    if places is None:
        return ()
    nearest = cKDTree(scan.vertices).query(places.targets)[1]
    of_scan, of_body = _limb_of_vertices(scan_curves), _limb_of_vertices(body)
    found: dict[int, int] = {}
    for row, vertex in enumerate(nearest):
        mine = int(of_body[places.rows[row].toarray().argmax()])
        theirs = int(of_scan[vertex])
        # Two landmarks of one limb on two of the other say nothing sure of either.
        if mine >= 0 and theirs >= 0 and mine not in found and theirs not in found.values():
            found[mine] = theirs
    return tuple(found.items())


def _limb_of_vertices(curves: LimbCurves) -> np.ndarray:
    """Number the limb of every vertex; -1 on the trunk."""
    out = np.full(len(curves.limbs.height), -1)
    for k, limb in enumerate(curves.limbs.limbs):
        out[limb.vertices] = k
    return out


def _landmark_row(data: BodyModelData, known: Mapping[str, Any], name: str) -> np.ndarray:
    """Give the shares of vertices in a named point: a keypoint of the skin, a vertex number, or a joint."""
    row = np.zeros(data.n_vertices)
    definition = known.get(name)
    if isinstance(definition, Mapping):
        for vertex, share in definition.items():
            row[int(vertex)] = share
    elif name in data.joint_names and data.joint_regressor is not None:
        row = data.joint_regressor.to_dense()[data.joint_names.index(name)]
    elif name.isdigit() and int(name) < data.n_vertices:
        row[int(name)] = 1.0
    else:
        raise UnknownNameError(
            f'landmark {name!r}: must be a keypoint on the skin of {data.name}, a joint with a regressor, or a '
            f'number of a vertex. {did_you_mean(name, [*known, *data.joint_names])}'
        )
    return row
