"""Are the correspondences of a registration right? Round trips on the models' own geometry.

    python -m benchmarks.registration [--model FILE|NAME ...] [--seeds N] [--noise SHARE ...] [--cut] [--out DIR]

Each specimen is the model itself: pose of standard deviation 0.25 rad a joint and axis, shape coefficients 1,
logarithms of joint scales 0.1 an axis, any orientation, place and size. Vertices and faces are shuffled, and noise of
a share of the extent is added to every coordinate; nothing tells which vertex is which. With --cut three of six legs
are taken away. Measured against the geometry without noise: for how many true vertices the nearest registered vertex
is the very one; how far vertices are off; of the legs' vertices, how many have a nearest vertex of the same leg.
Seconds are of this process's CPU, on one thread.
"""

import argparse
import re
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from scipy.spatial import cKDTree

from benchmarks.measuring import RESULTS, Row, now, print_rows, real_stick, save
from smilfit.body_models import SMIL, load_body_model
from smilfit.registrants.registration import MeshRegistrant, PosedSurface, Scan, clean_scan

POSE_SD, SHAPE_SD, JOINT_SCALE_SD = 0.25, 1.0, 0.1
NOISE = 0.0025
# Legs of the stick model (l_1_co_r) and of the insect (coxa_R1).
_LEGS = (
    re.compile(r'l_(?P<n>\d)_\w+_(?P<side>[lr])'),
    re.compile(r'(coxa|femur|tibia|tarsus)_(?P<side>[LR])(?P<n>\d)'),
)


def main(argv: Sequence[str] | None = None) -> int:
    """Measure all specimens."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('--model', nargs='+', help='body models; insect, and the stick insect if it is there')
    parser.add_argument('--seeds', type=int, default=12, help='specimens of each kind')
    parser.add_argument('--noise', type=float, nargs='+', default=[0.0, NOISE], help='shares of the extent')
    parser.add_argument('--cut', action='store_true', help='take three of six legs away')
    parser.add_argument('--out', type=Path, default=RESULTS, help='folder for JSON and CSV')
    arguments = parser.parse_args(argv)
    warnings.simplefilter('ignore')
    torch.set_num_threads(1)
    stick = real_stick()
    for model in arguments.model or ['insect', *([stick] if stick else [])]:
        body = load_body_model(model)
        for noise in arguments.noise:
            rows = [measure(body, seed, noise, arguments.cut) for seed in range(arguments.seeds)]
            rows.append(means(rows))
            name = f'registration_{body.data.name}_{noise:g}{"_cut" if arguments.cut else ""}'
            print_rows(name, rows)
            save(name, rows, arguments.out, model=body.data.name, noise=noise, cut=arguments.cut)
    return 0


@dataclass(frozen=True)
class Specimen:
    """A made scan and its truth.

    Attributes:
        scan: what is registered.
        vertices: true ones in the model's order.
        shown: which of them the scan has.
    """

    scan: Scan
    vertices: np.ndarray
    shown: np.ndarray


def draw_specimen(surface: PosedSurface, seed: int, noise: float = 0.0, cut: bool = False) -> Specimen:
    """Draw an animal and scan it."""
    rng, data = np.random.default_rng(seed), surface.data
    step = np.zeros(surface.n_unknowns)
    turns = rng.normal(0, POSE_SD, (data.n_joints, 3))
    turns[0] = rng.normal(0, 1, 3)
    for name, value in (
        ('turns', turns),
        ('betas', rng.normal(0, SHAPE_SD, data.n_betas)),
        ('log_joint_scales', rng.normal(0, JOINT_SCALE_SD, (data.n_joints, 3))),
        ('log_scale', rng.normal(0, 0.3)),
        ('transl', rng.normal(0, 2, 3)),
    ):
        step[surface.slices[name]] = np.ravel(value)
    vertices = surface.vertices(surface.moved(surface.rest(), torch.from_numpy(step))).numpy()
    shown = np.ones(len(vertices), dtype=bool)
    if cut:
        legs = legs_of(data.joint_names)
        gone = np.random.default_rng(seed + 1000).permutation(sorted(set(legs) - {''}))[:3]
        shown = ~np.isin(np.array(legs)[surface.part], gone)
    order = rng.permutation(len(vertices))
    noisy = vertices + rng.normal(0, noise * np.ptp(vertices, axis=0).max(), vertices.shape)
    place = order.argsort()
    faces = place[surface.faces[shown[surface.faces].all(1)]]
    scan = clean_scan(f'{data.name}_{seed}', noisy[order], faces[rng.permutation(len(faces))])
    return Specimen(scan, vertices, shown)


def measure(body: SMIL, seed: int, noise: float, cut: bool) -> Row:
    """Register one specimen and compare with its truth."""
    registrant = MeshRegistrant(body)
    surface = registrant.surface
    specimen = draw_specimen(surface, seed, noise, cut)
    began = now()
    found = registrant(specimen.scan)
    seconds = now() - began
    return {'specimen': seed, **correspondence(surface, specimen, found.vertices), 'cpu_s': seconds}


def correspondence(surface: PosedSurface, specimen: Specimen, registered: np.ndarray) -> Row:
    """Say how many vertices are the right ones, and how far they are off."""
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
    found = []
    for name in names:
        match = next((m for p in _LEGS if (m := p.fullmatch(name))), None)
        found.append('' if match is None else match['n'] + match['side'].lower())
    return found


def means(rows: Sequence[Row]) -> Row:
    """Give the mean of all specimens."""
    keys = [k for k in rows[0] if k != 'specimen']
    return {'specimen': 'mean', **{k: float(np.mean([r[k] for r in rows])) for k in keys}}


if __name__ == '__main__':
    raise SystemExit(main())
