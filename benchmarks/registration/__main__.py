"""Are the correspondences of a registration right? Round trips on the models' own geometry.

    python -m benchmarks.registration [--model FILE|NAME ...] [--seeds N] [--noise SHARE ...] [--pose-sd RAD]
        [--shown whole|cut|stumps|above] [--landmarks] [--joint-offset-sd SHARE] [--joint-offset-prior SHARE]
        [--out DIR] [--keep DIR]

Each specimen is the model itself: pose of standard deviation 0.25 rad a joint and axis, shape coefficients 1,
logarithms of joint scales 0.1 an axis, any orientation, place and size. Vertices and faces are shuffled, and noise of
a share of the extent is added to every coordinate; nothing tells which vertex is which. Shown is the whole, or all
but three of six legs (cut) or their outer halves (stumps), or the skin that faces up alone (above). Measured against
the geometry without noise: for how many true vertices that the scan shows the nearest registered vertex is the very
one; how far vertices are off; of the legs' vertices, how many have a nearest vertex of the same leg. Then spaces of
the registrations' shapes are made, and one left out, beside those of the truth. Seconds are of this process's CPU, on
one thread.
"""

import argparse
import warnings
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from benchmarks.measuring import RESULTS, Row, now, print_rows, real_stick, save
from benchmarks.registration.spaces import generalisation, registered
from benchmarks.registration.specimens import Draw, Shown, Specimen, correspondence, draw_specimen
from smilfit.body_models import load_body_model
from smilfit.registrants.registration import MeshRegistrant, PriorSizes, Registration

NOISE = 0.0025


def main(argv: Sequence[str] | None = None) -> int:
    """Measure all specimens."""
    parser = argparse.ArgumentParser(
        prog='python -m benchmarks.registration',
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument('--model', nargs='+', help='body models; insect, and the stick insect if it is there')
    parser.add_argument('--seeds', type=int, default=12, help='specimens of each kind')
    parser.add_argument('--noise', type=float, nargs='+', default=[0.0, NOISE], help='shares of the extent')
    parser.add_argument('--pose-sd', type=float, default=Draw.pose_sd, help='of a joint about each axis, rad')
    parser.add_argument('--shown', type=Shown, choices=list(Shown), default=Shown.WHOLE, help='see above')
    parser.add_argument('--landmarks', action='store_true', help='name the tips of limbs in the scans')
    parser.add_argument('--out', type=Path, default=RESULTS, help='folder for JSON and CSV')
    parser.add_argument('--keep', type=Path, help='folder for the registrations themselves')
    parser.add_argument(
        '--joint-offset-sd', type=float, default=0.0, help='of specimens, share of the extent'
    )
    parser.add_argument('--joint-offset-prior', type=float, help='fit joint offsets, with this prior')
    arguments = parser.parse_args(argv)
    warnings.simplefilter('ignore')
    torch.set_num_threads(1)
    stick = real_stick()
    for model in arguments.model or ['insect', *([stick] if stick else [])]:
        priors = PriorSizes(joint_offset_sd=arguments.joint_offset_prior)
        registrant = MeshRegistrant(load_body_model(model), priors=priors)
        for noise in arguments.noise:
            draw = Draw(
                arguments.pose_sd, noise, arguments.shown, arguments.landmarks, arguments.joint_offset_sd
            )
            measure(registrant, draw, arguments.seeds, arguments.out, arguments.keep)
    return 0


def measure(registrant: MeshRegistrant, draw: Draw, seeds: int, out: Path, keep: Path | None) -> None:
    """Register specimens of one kind, print and save how right they are."""
    surface = registrant.surface
    name = f'registration_{surface.data.name}_{kind_of(draw)}'
    rows, specimens, found = [], [], []
    for seed in range(seeds):
        specimen = draw_specimen(registrant, seed, draw)
        began = now()
        found.append(registrant(specimen.scan))
        seconds = now() - began
        score = correspondence(surface, specimen, found[-1].vertices)
        rows.append({'specimen': seed, **score, 'absent': len(found[-1].absent), 'cpu_s': seconds})
        print(rows[-1], flush=True)
        specimens.append(specimen)
        if keep is not None:
            found[-1].save(keep / name / specimen.scan.name, surface, specimen.scan)
    rows.append(means(rows))
    about = {'model': surface.data.name, 'noise': draw.noise, 'shown': draw.shown.value}
    print_rows(name, rows)
    save(name, rows, out, **about)
    if seeds > 2:
        spaces = spaces_of(registrant, specimens, found)
        print_rows(f'{name}_spaces', spaces)
        save(f'{name}_spaces', spaces, out, **about)


def kind_of(draw: Draw) -> str:
    """Name a kind of specimens for files."""
    parts = [f'{draw.noise:g}', *([draw.shown.value] if draw.shown is not Shown.WHOLE else [])]
    parts += [f'pose{draw.pose_sd:g}'] * (draw.pose_sd != Draw.pose_sd) + ['landmarks'] * draw.landmarks
    parts += [f'offsets{draw.joint_offset_sd:g}'] * (draw.joint_offset_sd > 0)
    return '_'.join(parts)


def spaces_of(
    registrant: MeshRegistrant, specimens: Sequence[Specimen], found: Sequence[Registration]
) -> list[Row]:
    """Give the errors of shape spaces of registrations, and of the truth."""
    surface, both = registrant.surface, []
    for specimen, one in zip(specimens, found):
        own = surface.state_of(one.params)
        name, rest = specimen.scan.name, surface.rest_vertices(specimen.state).numpy()
        both.append(
            (registered(surface, name, own, one.unposed), registered(surface, name, specimen.state, rest))
        )
    return generalisation(surface, [f for f, _ in both], [t for _, t in both])


def means(rows: Sequence[Row]) -> Row:
    """Give the mean of all specimens."""
    keys = [k for k in rows[0] if k != 'specimen']
    return {'specimen': 'mean', **{k: float(np.mean([r[k] for r in rows])) for k in keys}}


if __name__ == '__main__':
    raise SystemExit(main())
