"""Every clip of imported rigs, seen by four cameras with noise, and fitted again: how far off are joints and skin?

    python -m benchmarks.clips_of_rigs RIG [RIG ...] [--noise-px 1] [--clip NAME]

Keypoints are the model's joints and three skin points on every joint that moves skin, so that turns about a bone are
seen. The rig is imported with `--limits clips`. Errors are of a frame: the mean over joints, or vertices, as a share
of the animal's length (the longest side of the mesh at rest).
"""

import argparse
import copy
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.measuring import ROOT, now
from smilfit.body_models import SMIL, BodyModelData
from smilfit.registry import build_registrant, read_config
from smilfit.rigs import ClipPoses, build_model, read_rig
from smilfit.structures import BodyParams, Keypoints2d
from smilfit.synthetic.camera_rig import make_rig
from smilfit.synthetic.labels import project_keypoints

CONFIG = ROOT / 'configs' / 'fit' / 'multiview_keypoints_lm.py'
SIZE = (640, 512)
# Of the arena that the cameras see, over the animal's length.
_ROOM = 0.75
_SKIN = 'joints and skin'


def main() -> None:
    """Print a line a clip and one for all."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('rigs', type=Path, nargs='+')
    parser.add_argument('--noise-px', type=float, default=1.0)
    parser.add_argument('--clip', help='this clip alone')
    arguments = parser.parse_args()
    every = []
    for path in arguments.rigs:
        data, report = build_model(read_rig(path), limits='clips' if read_rig(path).clips else 'auto')
        data, names = with_skin_points(data)
        for clip in report.clips:
            if arguments.clip not in (None, clip.name):
                continue
            joints, skin, seconds = recovered(data, names, clip, arguments.noise_px)
            every.append(joints)
            print(
                f'{data.name} {clip.name}: {len(clip)} frames, joints median {100 * np.median(joints):.3f} %, '
                f'within 1.5 %: {100 * (joints < 0.015).mean():.1f} %, worst {100 * joints.max():.2f} %; skin median '
                f'{100 * np.median(skin):.3f} %, within 1.5 %: {100 * (skin < 0.015).mean():.1f} %; {seconds:.1f} s',
                flush=True,
            )
    joints = np.concatenate(every)
    print(f'all: {len(joints)} frames, median {100 * np.median(joints):.3f} %, {100 * (joints < 0.015).mean():.2f} % '
          'within 1.5 %')  # fmt: skip


def with_skin_points(data: BodyModelData) -> tuple[BodyModelData, tuple[str, ...]]:
    """Add keypoints on the skin of every joint: three vertices that hang most on it, far from it and each other."""
    dense, extra = data.weights.to_dense(), {}
    for j, name in enumerate(data.joint_names):
        if dense[:, j].max(initial=0) > 0.3:
            apart = np.linalg.norm(data.v_template - data.joints[j], axis=1)
            for k in range(3):
                chosen = int((dense[:, j] * apart).argmax())
                extra[f'{name} skin {k}'] = {chosen: 1.0}
                apart = np.minimum(apart, np.linalg.norm(data.v_template - data.v_template[chosen], axis=1))
    kept = [n for n, limits in zip(data.joint_names, data.joint_limits) if limits.any()]
    return replace(data, keypoint_sets={_SKIN: {n: n for n in kept} | extra}), (*kept, *extra)


def recovered(
    data: BodyModelData, names: tuple[str, ...], clip: ClipPoses, noise_px: float
) -> tuple[np.ndarray, np.ndarray, float]:
    """Fit a clip to what cameras see of it; gives a frame's errors of joints and of skin, and seconds."""
    body = SMIL(data).double()
    truth = at_origin(body, clip)
    length = float(np.ptp(data.v_template, axis=0).max())
    rng = np.random.default_rng(0)
    cameras = make_rig(4, _ROOM * length, rng, SIZE, data.unit, lens=False)
    with torch.no_grad():
        seen = body(truth, need=('joints', 'vertices', *names))
    pixels, _, inside = project_keypoints(seen.keypoints, cameras)
    xy = torch.from_numpy(pixels + noise_px * rng.standard_normal(pixels.shape))
    labels = Keypoints2d(xy, torch.from_numpy(inside.astype(float)), names, cameras)
    fitter = build_registrant({**settings(), 'body_model': SMIL(data), 'verbose': False})
    start = now()
    result = fitter([labels])
    seconds = now() - start
    with torch.no_grad():
        fitted = body(result.params.to(torch.float64), need=('joints', 'vertices'))
    kept = torch.as_tensor(data.joint_limits.any((1, 2)))
    joints = (fitted.joints - seen.joints)[:, kept].norm(dim=-1).mean(1) / length
    skin = (fitted.vertices - seen.vertices).norm(dim=-1).mean(1) / length
    return joints.numpy(), skin.numpy(), seconds


def at_origin(body: SMIL, clip: ClipPoses) -> BodyParams:
    """Give a clip with the animal's middle over the arena's, at every frame."""
    params = clip.params(body)
    with torch.no_grad():
        vertices = body(params, need=('vertices',)).vertices
    middle = (vertices.amax(1) + vertices.amin(1)) / 2
    return params.replace(transl=params.transl - middle)


def settings() -> dict[str, Any]:
    """Give the shipped config, without what it finds of labels off the model and of parts of other sizes: none is."""
    config = copy.deepcopy(read_config(CONFIG).to_dict())
    for stage in config['stages']:
        stage.update({'fit_landmark_offsets': False, 'fit_part_sizes': False})
        for name in ('landmark_prior_weight', 'part_size_prior_weight'):
            stage.pop(name, None)
    return config


if __name__ == '__main__':
    main()
