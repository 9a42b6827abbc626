"""Single views of animals of unknown proportions: does the fit know which way the body points?

    python -m benchmarks.one_view [--n N] [--clips N] [--only CASE] [--out DIR]

Seven species by turns of chance, each with proportions of its own, in 224 px crops, keypoints with 2 px of noise.
"""

import argparse
from pathlib import Path

import torch

from benchmarks.measuring import RESULTS, ROOT, Row, now, print_rows, save
from benchmarks.one_view.real import ants, mouse
from benchmarks.one_view.scenes import VIEWS, clip, pictures
from benchmarks.one_view.scores import compare, doubted_of, figures, flat_direction
from smilfit.body_models import SMIL
from smilfit.geometry.rotation import axis_angle_to_rotmat
from smilfit.handlers import ImageFrameInput
from smilfit.registrants.hypotheses import angle_between
from smilfit.registrants.view_doubt import trunk_direction
from smilfit.registry import build_registrant, read_config
from smilfit.structures import FitResult
from smilfit.synthetic import make_quadruped_family

# Thresholds of doubt were chosen on others.
SEED = 1000
# Share of keypoints missing, and landmarks off by a share of the body's length.
CASES = {'all keypoints': (0.0, 0.0), 'a third missing, landmarks off by 3 %': (0.3, 0.03)}
FLIP_DEG = 60.0


def main(arguments: list[str] | None = None) -> int:
    """Measure all cases."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('--n', type=int, default=200, help='pictures of each case')
    parser.add_argument('--clips', type=int, default=20, help='made videos')
    parser.add_argument('--only', choices=('pictures', 'clips', 'ants', 'mouse'), help='one part alone')
    parser.add_argument('--out', type=Path, default=RESULTS, help='folder for JSON and CSV')
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    parts = {
        'pictures': lambda: [row for case in CASES for row in one_view(case, options.n)],
        'clips': lambda: [one_clip(seed) for seed in range(options.clips)],
        'ants': ants,
        'mouse': mouse,
    }
    for name, part in parts.items():
        if options.only in (None, name) and (rows := part()):
            print_rows(name, rows)
            save(f'one_view_{name}', rows, options.out, n=options.n)
    return 0


def one_view(case: str, n: int) -> list[Row]:
    """Fit pictures, and compare starts and ends with the truth: all of them, and by kind of view."""
    body = SMIL(make_quadruped_family())
    truly = SMIL(body.data).double()
    views = pictures(truly, n, SEED, *CASES[case])
    fit = registrant('smalify_keypoints', body)
    begun = now()
    result = fit([views.scene.keypoints, ImageFrameInput(views.scene.cameras, n)])
    seconds = (now() - begun) / n
    nobody = torch.zeros(n, dtype=torch.bool)
    R = views.scene.cameras.R[:, 0]
    true = trunk_direction(body.data, views.scene.truth.global_orient.double(), R)
    start, end = (
        trunk_direction(body.data, p.global_orient.double(), R) for p in (result.start, result.params)
    )
    rows = []
    for what, found, doubted in (
        ('zero depth', flat_direction(views.scene.keypoints), nobody),
        ('start, the mean pose', start, nobody),
        ('fit', end, doubted_of(result)),
    ):
        turned = compare(found, true)
        for kind, name in enumerate(('all', *VIEWS)):
            among = torch.ones(n, dtype=torch.bool) if name == 'all' else views.view == kind - 1
            rows.append({'case': case, 'what': what, 'view': name, **figures(turned, doubted, among)})
            rows[-1]['s/picture'] = seconds
    return rows


def one_clip(seed: int) -> Row:
    """Fit a video of keypoints and say how the body turns from frame to frame."""
    body = SMIL(make_quadruped_family())
    scene = clip(SMIL(body.data).double(), SEED + seed)
    fit = registrant('smalify_video', body)
    frames = ImageFrameInput(scene.cameras, len(scene.masks))
    begun = now()
    result: FitResult = fit([scene.keypoints, frames])
    turn = axis_angle_to_rotmat(result.params.global_orient.double())
    most = torch.rad2deg(angle_between(turn[1:], turn[:-1])).max()
    directions = (
        trunk_direction(body.data, p.global_orient.double(), scene.cameras.R[:, 0])
        for p in (result.params, scene.truth)
    )
    wrong = compare(*directions).trunk_deg
    return {
        'clip': seed,
        'largest turn between neighbours deg': float(most),
        'flip': bool(most > FLIP_DEG),
        'trunk median deg': float(wrong.median()),
        'trunk worst deg': float(wrong.max()),
        's/frame': (now() - begun) / len(scene.masks),
    }


def registrant(name: str, body: SMIL):
    """Build a shipped config."""
    return build_registrant(
        {**read_config(ROOT / 'configs' / 'fit' / f'{name}.py').to_dict(), 'body_model': body}
    )


if __name__ == '__main__':
    raise SystemExit(main())
