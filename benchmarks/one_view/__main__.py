"""Single views of animals of unknown proportions: does the fit know which way the body points?

python -m benchmarks.one_view [--n N] [--clips N] [--out DIR]
"""

import argparse
import time

import torch

from benchmarks.measuring import ROOT, print_rows
from benchmarks.one_view.scenes import VIEWS, pictures
from benchmarks.one_view.scores import compare, share, trunk_direction
from smilfit.body_models import SMIL, load_body_model
from smilfit.handlers import ImageFrameInput
from smilfit.registry import build_registrant, read_config
from smilfit.synthetic import make_quadruped_family


def main(arguments=None):
    parser = argparse.ArgumentParser()
    parser.add_argument('--n', type=int, default=200)
    parser.add_argument('--seed', type=int, default=1000)
    parser.add_argument('--body')
    parser.add_argument('--hidden', type=float, default=0)
    parser.add_argument('--off', type=float, default=0)
    parser.add_argument('--config', default='smalify_keypoints.py')
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    data = load_body_model(options.body).data if options.body else make_quadruped_family()
    truly = SMIL(data).double()
    views = pictures(truly, options.n, options.seed, options.hidden, options.off)
    scene = views.scene
    cfg = read_config(ROOT / 'configs/fit' / options.config).to_dict()
    fit = build_registrant({**cfg, 'body_model': SMIL(data)})
    seen = [scene.keypoints]
    if 'keypoints' in options.config:
        seen.append(ImageFrameInput(scene.cameras, options.n))
    else:
        seen += [scene.mask_input(k) for k in ('mask_distance', 'silhouette')]
    t = time.process_time()
    result = fit(seen)
    t = time.process_time() - t
    true = trunk_direction(truly, scene.truth, scene.cameras.R[:, 0])
    rows = []
    for name, params in (('start', result.start), ('fit', result.params)):
        turned = compare(trunk_direction(truly, params.to(torch.float64), scene.cameras.R[:, 0]), true)
        for kind in (None, *range(3)):
            among = torch.ones(options.n, dtype=torch.bool) if kind is None else views.view == kind
            rows.append(
                {
                    'what': name,
                    'view': 'all' if kind is None else list(VIEWS)[kind],
                    'n': int(among.sum()),
                    'median': float(turned.trunk_deg[among].median()),
                    '<20': share(turned.trunk_deg < 20, among),
                    '>40': share(turned.trunk_deg > 40, among),
                    'sign right': share(~turned.depth_wrong, among & ~turned.flat),
                }
            )
    print_rows(f'{options.config}, {t / options.n:.3f} s a picture', rows)


if __name__ == '__main__':
    raise SystemExit(main())
