"""Fits to made images: one view (focal length unknown, keypoints or masks alone), a video, four views.

    python -m benchmarks.images [--n N] [--pictures DIR] [--out DIR]

Keypoints have 1 px of noise in 224 px crops. Prints IoU with the true mask, PCK@5px against true keypoints,
joints' errors in percent of the body's length, and seconds a frame on one thread.
"""

import argparse
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch

from benchmarks.image_scenes import APART, FOCAL, SIDE, Scene, four_views, masks_of, single_views
from benchmarks.measuring import RESULTS, Row, print_rows, save
from smilfit.body_models import SMIL
from smilfit.geometry.alignment import procrustes
from smilfit.handlers import ImageFrameInput
from smilfit.registry import build_registrant, read_config
from smilfit.structures import Cameras, FitResult
from smilfit.synthetic import make_quadruped

ROOT = Path(__file__).resolve().parents[1]
CONFIG = ROOT / 'configs' / 'fit' / 'smalify.py'
MASKS = ('mask_distance', 'silhouette')
# How much longer the true focal length is than what is thought, and the stage that finds it.
WRONG = 1.35
FOCAL_STAGE = {
    'fit_focal': True, 'focal_prior_weight': 0.02, 'pose_prior_weight': 3.0, 'n_iter': 20, 'ftol': 1e-4,
    'optimizer': {'type': 'LBFGS', 'max_iter': 20, 'history_size': 50},
}  # fmt: skip


def main(arguments: list[str] | None = None) -> int:
    """Measure all cases."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('--n', type=int, default=16, help='images of each case')
    parser.add_argument('--only', choices=CASES, help='one case alone')
    parser.add_argument('--pictures', type=Path, help='folder for overlays, start above and fit below')
    parser.add_argument('--out', type=Path, default=RESULTS, help='folder for JSON and CSV')
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    torch.manual_seed(0)
    cases = [options.only] if options.only else list(CASES)
    rows = [measure(case, options.n, options.pictures) for case in cases]
    print_rows('Fits to made images, 224 px', rows)
    save('images', rows, options.out, n=options.n)
    return 0


def measure(case: str, n: int, pictures: Path | None = None) -> Row:
    """Fit one case."""
    truly = SMIL(make_quadruped()).double()
    scene, seen, changes = CASES[case](truly, n)
    registrant = build_registrant(
        {**read_config(CONFIG).to_dict(), **changes, 'body_model': SMIL(make_quadruped())}
    )
    start = time.perf_counter()
    result = registrant(seen)
    seconds = (time.perf_counter() - start) / n
    return {
        'case': case,
        **_scores(truly, scene, result, pictures and pictures / f'{case}.png'),
        's/frame': seconds,
    }


def one_view(body: SMIL, n: int) -> tuple[Scene, list[Any], dict[str, Any]]:
    """Keypoints and masks, focal length known."""
    scene = single_views(body, n, seed=0)
    return scene, [scene.keypoints, *(scene.mask_input(key) for key in MASKS)], {}


def wrong_focal(body: SMIL, n: int) -> tuple[Scene, list[Any], dict[str, Any]]:
    """Frames of a longer video, whose focal length is fitted, from one that is a quarter too short."""
    scene = single_views(body, n, seed=0, focal=WRONG * FOCAL, video=True, apart=APART)
    guess = scene.cameras.refocused(-torch.tensor([WRONG]).log())
    keypoints = replace(scene.keypoints, cameras=guess)
    config = read_config(CONFIG).to_dict()
    at = [stage['name'] for stage in config['stages']].index('silhouette')
    stage = {**config['stages'][at - 1], 'name': 'focal', **FOCAL_STAGE}
    stages = [*config['stages'][:at], stage, *config['stages'][at:]]
    seen = [keypoints, *(scene.mask_input(key, guess) for key in MASKS)]
    # Frames far apart are no smooth path.
    changes = {'stages': stages, 'use_one_betas_per_video': True, 'path_weight': 0.0}
    return scene, seen, changes


def masks_alone(body: SMIL, n: int) -> tuple[Scene, list[Any], dict[str, Any]]:
    """No keypoint at all."""
    scene = single_views(body, n, seed=0)
    config = read_config(CONFIG.with_name('smalify_masks.py')).to_dict()
    return scene, [scene.mask_input(key) for key in MASKS], config


def keypoints_alone(body: SMIL, n: int) -> tuple[Scene, list[Any], dict[str, Any]]:
    """No mask."""
    scene = single_views(body, n, seed=0)
    seen = [scene.keypoints, ImageFrameInput(scene.cameras, n)]
    return scene, seen, read_config(CONFIG.with_name('smalify_keypoints.py')).to_dict()


def video(body: SMIL, n: int) -> tuple[Scene, list[Any], dict[str, Any]]:
    """Neighbouring frames of one animal: one shape for all."""
    scene = single_views(body, n, seed=0, video=True)
    seen = [scene.keypoints, *(scene.mask_input(key) for key in MASKS)]
    return scene, seen, {'use_one_betas_per_video': True}


def views(body: SMIL, n: int) -> tuple[Scene, list[Any], dict[str, Any]]:
    """Four calibrated cameras."""
    scene = four_views(body, n, seed=0)
    seen = [scene.keypoints, *(scene.mask_input(key) for key in MASKS)]
    return scene, seen, {'use_one_betas_per_video': True}


CASES = {
    'one view': one_view,
    'one view, focal length unknown': wrong_focal,
    'one view, keypoints alone': keypoints_alone,
    'one view, masks alone': masks_alone,
    'one view, video': video,
    'four views': views,
}


def _scores(body: SMIL, scene: Scene, result: FitResult, image: Path | None) -> Row:
    params, cameras = result.params.to(torch.float64), scene.cameras
    fitted = cameras if result.cameras is None else result.cameras.to(torch.float64)
    masks = masks_of(body, params, fitted)
    names = scene.keypoints.names
    found, true = (body(p, names) for p in (params, scene.truth))
    pixels, wanted = fitted.project(found.keypoints)[0], cameras.project(true.keypoints)[0]
    near = ((pixels - wanted).norm(dim=-1) < 5).double().mean((1, 2))
    iou = _iou(masks, scene.masks)
    length = body.rest_size
    joints, truth = body(params).joints, body(scene.truth).joints
    aligned = procrustes(joints, truth).apply(joints)
    if image is not None:
        start = masks_of(body, result.start.to(torch.float64), cameras)
        _draw(image, scene, start, masks, fitted, pixels)
    return {
        'IoU': float(iou.mean()),
        'least IoU': float(iou.min()),
        'PCK@5px': float(near.mean()),
        'MPJPE %': _percent(joints, truth, length),
        'MPJPE at root %': _percent(joints - joints[:, :1], truth - truth[:, :1], length),
        'PA-MPJPE %': _percent(aligned, truth, length),
        'focal': float((fitted.K[..., 0, 0] / cameras.K[..., 0, 0]).mean()),
    }


def _percent(found: torch.Tensor, true: torch.Tensor, length: float) -> float:
    return float(100 * (found - true).norm(dim=-1).mean() / length)


def _iou(found: torch.Tensor, true: torch.Tensor) -> torch.Tensor:
    return (found & true).flatten(1).sum(1) / (found | true).flatten(1).sum(1)


def _draw(
    path: Path, scene: Scene, start: torch.Tensor, masks: torch.Tensor, cameras: Cameras, pixels: torch.Tensor
) -> None:
    """Draw true masks green, the body's red, both yellow; keypoints white, with lines to the body's."""
    columns = []
    for i in range(min(8, len(masks))):
        rows = []
        for drawn in (start, masks):
            image = np.full((SIDE, SIDE, 3), 30, np.uint8)
            image[..., 1] += 150 * scene.masks[i, 0].numpy().astype(np.uint8)
            image[..., 2] += 150 * drawn[i, 0].numpy().astype(np.uint8)
            rows.append(image)
        for seen, there in zip(scene.keypoints.xy[i, 0].tolist(), pixels[i, 0].tolist()):
            a, b = (tuple(round(v) for v in p) for p in (seen, there))
            cv2.circle(rows[1], a, 2, (255, 255, 255), -1)
            cv2.line(rows[1], a, b, (255, 100, 255), 1)
        columns.append(np.concatenate(rows, 0))
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), np.concatenate(columns, 1))


if __name__ == '__main__':
    raise SystemExit(main())
