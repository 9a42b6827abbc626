"""Made scans whose truth is known, of the model's own geometry."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import Enum

import numpy as np
import torch
from scipy.sparse.csgraph import dijkstra
from scipy.spatial import cKDTree

from smilfit.renderers import vertex_normals
from smilfit.scans.registration import MeshRegistrant, PosedSurface, Scan, SurfaceState, clean_scan

SHAPE_SD, JOINT_SCALE_SD, LOG_SIZE_SD = 1.0, 0.1, 0.3
# Legs of the stick model (l_1_co_r) and of the insect (coxa_R1).
_LEGS = (
    re.compile(r'l_(?P<n>\d)_\w+_(?P<side>[lr])'),
    re.compile(r'(coxa|femur|tibia|tarsus)_(?P<side>[LR])(?P<n>\d)'),
)


class Shown(Enum):
    """What of the animal a scan shows."""

    WHOLE = 'whole'
    CUT = 'cut'
    STUMPS = 'stumps'
    ABOVE = 'above'


@dataclass(frozen=True)
class Draw:
    """How specimens are drawn.

    Attributes:
        pose_sd: of a joint about each axis, rad.
        noise: of every coordinate, share of the extent.
        shown: three of six legs taken away (cut) or halved (stumps), or the skin that faces up alone (above).
        landmarks: whether the tips of all limbs are named in the scan.
        joint_offset_sd: how far joints are from where the shape puts them, share of the model's extent an axis.
    """

    pose_sd: float = 0.25
    noise: float = 0.0
    shown: Shown = Shown.WHOLE
    landmarks: bool = False
    joint_offset_sd: float = 0.0


@dataclass(frozen=True)
class Specimen:
    """A made scan and its truth.

    Attributes:
        scan: what is registered.
        state: true one.
        vertices: true ones in the model's order.
        shown: which of them the scan has.
    """

    scan: Scan
    state: SurfaceState
    vertices: np.ndarray
    shown: np.ndarray


def draw_specimen(registrant: MeshRegistrant, seed: int, draw: Draw) -> Specimen:
    """Draw an animal and scan it."""
    surface = registrant.surface
    rng, data = np.random.default_rng(seed), surface.data
    step = np.zeros(surface.n_unknowns)
    turns = rng.normal(0, draw.pose_sd, (data.n_joints, 3))
    turns[0] = rng.normal(0, 1, 3)
    for name, value in (
        ('turns', turns),
        ('betas', rng.normal(0, SHAPE_SD, data.n_betas)),
        ('log_joint_scales', rng.normal(0, JOINT_SCALE_SD, (data.n_joints, 3))),
        ('log_scale', rng.normal(0, LOG_SIZE_SD)),
        ('transl', rng.normal(0, 2, 3)),
    ):
        step[surface.slices[name]] = np.ravel(value)
    state = surface.moved(surface.rest(), torch.from_numpy(step))
    if draw.joint_offset_sd:
        offsets = rng.normal(0, draw.joint_offset_sd * surface.extent, (data.n_joints, 3))
        offsets[0] = 0.0
        state = replace(state, joint_offsets=torch.from_numpy(offsets))
    vertices = surface.vertices(state).numpy()
    shown = ~_hidden(registrant, state, vertices, draw.shown, seed)
    order = rng.permutation(len(vertices))
    noisy = vertices + rng.normal(0, draw.noise * np.ptp(vertices, axis=0).max(), vertices.shape)
    place = order.argsort()
    faces = place[surface.faces[shown[surface.faces].all(1)]]
    tips = [limb.tip for limb in registrant.template.curves.limbs.limbs] if draw.landmarks else []
    named = {str(v): noisy[v] for v in tips if shown[v]}
    scan = clean_scan(
        f'{data.name}_{seed}', noisy[order], faces[rng.permutation(len(faces))], landmarks=named
    )
    return Specimen(scan, state, vertices, shown)


def _hidden(
    registrant: MeshRegistrant, state: SurfaceState, vertices: np.ndarray, shown: Shown, seed: int
) -> np.ndarray:
    """Return which vertices a scan does not show."""
    surface = registrant.surface
    hidden = np.zeros(len(vertices), dtype=bool)
    if shown is Shown.WHOLE:
        return hidden
    if shown is Shown.ABOVE:
        normals = vertex_normals(torch.from_numpy(vertices), torch.as_tensor(surface.faces)).numpy()
        up = state.rotations[0].numpy() @ _up(registrant)
        return normals @ up < 0
    legs = np.array(legs_of(surface.data.joint_names))
    gone = np.random.default_rng(seed + 1000).permutation(sorted(set(legs) - {''}))[:3]
    of_leg = np.isin(legs[surface.part], gone)
    if shown is Shown.CUT:
        return of_leg
    limbs = registrant.template.curves.limbs.limbs
    for leg in gone:
        own = np.nonzero(legs[surface.part] == leg)[0]
        limb = next(limb for limb in limbs if limb.tip in own)
        away = dijkstra(registrant.template.graph, indices=limb.tip)
        hidden[own] = away[own] < 0.5 * away[own].max()
    return hidden


def _up(registrant: MeshRegistrant) -> np.ndarray:
    """Return the direction across the plane of the rest pose's limbs."""
    return np.linalg.svd(registrant.template.rest - registrant.template.rest.mean(0), full_matrices=False)[2][
        2
    ]


def correspondence(surface: PosedSurface, specimen: Specimen, registered: np.ndarray) -> dict[str, float]:
    """Return how many vertices are the right ones, and how far they are off."""
    kept = np.nonzero(specimen.shown)[0]
    true, extent = specimen.vertices[kept], np.ptp(specimen.vertices, axis=0).max()
    nearest = kept[cKDTree(registered[kept]).query(true)[1]]
    legs = np.array(legs_of(surface.data.joint_names))[surface.part]
    of_leg = legs[kept] != ''
    off = np.linalg.norm(registered[kept] - true, axis=1) / extent
    return {
        'right_vertex_%': 100 * float((nearest == kept).mean()),
        'median_off_%': 100 * float(np.median(off)),
        'off_95_%': 100 * float(np.percentile(off, 95)),
        'right_leg_%': 100 * float((legs[nearest] == legs[kept])[of_leg].mean()),
    }


def legs_of(names: Sequence[str]) -> list[str]:
    """Name the leg of every joint; '' for what is of no leg."""
    result = []
    for name in names:
        match = next((m for p in _LEGS if (m := p.fullmatch(name))), None)
        result.append('' if match is None else match['n'] + match['side'].lower())
    return result
