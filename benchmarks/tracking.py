"""One frame in, one pose out: milliseconds a frame, and how far poses are from the truth or from the windowed fit.

python -m benchmarks.tracking [--quick] [--out DIR]
"""

import argparse
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from benchmarks.fitting.mouse_session import SURE, one_camera, open_session
from benchmarks.intervals.real_sessions import with_side_of_boards
from benchmarks.measuring import RESULTS, ROOT, Row, print_rows, real_data, save
from smilfit.body_models import SMIL, load_body_model
from smilfit.handlers import BodyPosePriorHandler, Keypoint2dHandler
from smilfit.losses import KeypointMSELoss, PoseRegLoss
from smilfit.registrants import SMPLify, Stage
from smilfit.registry import build_registrant, read_config
from smilfit.solvers import LevenbergMarquardt
from smilfit.structures import BodyParams, FitResult, Keypoints2d
from smilfit.synthetic import LabelOptions, make_rig, random_motion
from smilfit.synthetic.labels import draw_labels, project_keypoints
from smilfit.tracking import TrackedPose, Tracker

MOTIONS = {
    'none': {'motion_weight': 0.0},
    'place': {'motion_weight': 5e3, 'motion_order': 1},
    'velocity': {'motion_weight': 5e3, 'motion_order': 2},
}
# Frames at which the made animal is suddenly elsewhere.
JUMP_EVERY = 50


def made_recording(n_frames: int, seed: int = 0, jumps: bool = False) -> tuple[SMIL, BodyParams, Keypoints2d]:
    """Make a walking quadruped in four cameras of 1280 x 1024 px, labelled with noise, gaps and blunders."""
    rng = np.random.default_rng(seed)
    body = load_body_model('quadruped')
    truth = random_motion(body, n_frames, rng, arena_radius=150.0, scale=100.0, betas=np.zeros(body.n_betas))
    truth = truth.to(torch.float32)
    if jumps:
        order = np.concatenate(
            np.random.default_rng(seed).permutation(np.arange(n_frames).reshape(-1, JUMP_EVERY))
        )
        truth = truth[torch.from_numpy(order)]
    rig = make_rig(4, 150.0, rng, size=(1280, 1024))
    names = tuple(body.joint_names)
    with torch.no_grad():
        joints = body(truth).joints.double()
    xy, _, inside = project_keypoints(joints, rig)
    options, hidden = LabelOptions(noise_px=2.0, n_gaps=0), np.zeros(inside[:, 0].shape, bool)
    drawn = [draw_labels(xy[:, c], inside[:, c], hidden, (1280, 1024), options, rng) for c in range(4)]
    labels, scores = (np.nan_to_num(np.stack([d[i] for d in drawn], 1)) for i in (0, 1))
    seen = Keypoints2d(torch.from_numpy(labels).float(), torch.from_numpy(scores).float(), names, rig)
    return body, truth, seen


def half_seen(seen: Keypoints2d, seed: int = 1) -> Keypoints2d:
    """Darken two in five cameras for 20 frames at a time; hide a quarter of the keypoints for ten."""
    rng, confidence = np.random.default_rng(seed), seen.confidence.clone()
    for first in range(0, seen.batch_size, 20):
        dark = torch.from_numpy(rng.random(confidence.shape[1]) < 0.4)
        confidence[first : first + 20, dark] = 0
        hidden = rng.choice(confidence.shape[2], confidence.shape[2] // 4, replace=False)
        confidence[first : first + 10][:, :, hidden] = 0
    return replace(seen, confidence=confidence)


def timed(tracker: Tracker, seen: Keypoints2d) -> tuple[list[TrackedPose], np.ndarray]:
    """Track a recording; CPU ms of every frame."""
    frames: Iterator = iter(list(zip(seen.xy.numpy(), seen.confidence.numpy())))
    poses, times = [], []
    for xy, confidence in frames:
        start = time.process_time()
        pose = tracker(xy, confidence)
        poses.append(pose)
        times.append(1e3 * (time.process_time() - start))
    return poses, np.array(times)


def row_of(name: str, motion: str, tracker: Tracker, seen: Keypoints2d, points: np.ndarray) -> Row:
    """Track, and compare the keypoints with others of the same frames, as shares of the body's length."""
    for xy, confidence in list(zip(seen.xy, seen.confidence))[:5]:
        tracker(xy, confidence)
    tracker.reset()
    poses, ms = timed(tracker, seen)
    found = np.stack([pose.points for pose in poses])
    px = np.stack([pose.distances_px for pose in poses])
    far = np.linalg.norm(found - points, axis=-1) / tracker.length
    jerk = np.linalg.norm(found[2:] - 2 * found[1:-1] + found[:-2], axis=-1) / tracker.length
    return {
        'recording': name,
        'motion': motion,
        'ms': float(ms.mean()),
        'p95_ms': float(np.quantile(ms, 0.95)),
        'frames_per_s': float(1e3 / ms.mean()),
        'steps': float(np.mean([pose.iterations for pose in poses])),
        'restarted': tracker.counts['restarted'],
        'believable': float(np.mean([pose.believable for pose in poses])),
        'error_%': 100 * float(np.nanmedian(far)),
        'error95_%': 100 * float(np.nanquantile(far, 0.95)),
        'acceleration_%': 100 * float(np.nanmedian(jerk)),
        'px': float(np.nanmedian(px)),
    }


def made_rows(n_frames: int) -> list[Row]:
    """Track made recordings, whose truth is known."""
    rows = []
    for name in ('quadruped', f'quadruped, elsewhere every {JUMP_EVERY} frames', 'quadruped, half seen'):
        body, truth, seen = made_recording(n_frames, jumps='elsewhere' in name)
        seen = half_seen(seen) if 'half' in name else seen
        with torch.no_grad():
            points = body(truth).joints.numpy()
        for motion, options in MOTIONS.items():
            tracker = Tracker(body, seen.rig, truth[:1], seen.names, **options)
            rows.append(row_of(name, motion, tracker, seen, points))
    return rows


def mouse_rows(folder: Path, n_frames: int) -> tuple[list[Row], list[Row]]:
    """Track the real mouse by the shape of the shipped fit; and what a camera sees that neither knows."""
    session = open_session(folder / 'mouse_sessions')
    seen = session.keypoints2d()[:n_frames]
    every = open_session(folder / 'mouse_sessions', ()).keypoints2d()[:n_frames]
    side = one_camera(with_side_of_boards(every), 'side')
    body = load_body_model(folder / 'models' / 'SMILy_Mouse_static_joints.pkl')
    body = body.with_landmarks(session.landmarks(body.data))
    cfg = read_config(ROOT / 'configs' / 'fit' / 'multiview_keypoints_lm.py')
    fitter = build_registrant({**cfg, 'body_model': body, 'verbose': False})
    fit = fitter([seen])
    fitted = keypoints_of(body, fit.params, seen.names)
    rows = []
    for motion, options in MOTIONS.items():
        tracker = Tracker(body, seen.rig, fit, seen.names, **options)
        rows.append(row_of('mouse, against its windowed fit', motion, tracker, seen, fitted))
    unseen = [_unseen_row('side', body, seen, side, fit)]
    for name in seen.rig.names:
        others = [n for n in seen.rig.names if n != name]
        index = [seen.rig.names.index(n) for n in others]
        rest = replace(
            seen,
            xy=seen.xy[:, index],
            confidence=seen.confidence[:, index],
            cameras=seen.rig.select(tuple(others)),
        )
        unseen.append(_unseen_row(name, body, rest, one_camera(seen, name), fitter([rest])))
    return rows, unseen


def _unseen_row(camera: str, body: SMIL, seen: Keypoints2d, other: Keypoints2d, fit: FitResult) -> Row:
    """Median px in a camera of which neither the fit nor the trackers know, over labels of some confidence."""

    def px(points: np.ndarray) -> float:
        pixels = other.rig.project(torch.from_numpy(points).to(other.rig.K))[0]
        far = (pixels - other.xy).norm(dim=-1)[other.confidence >= SURE]
        return float(far.nanmedian())

    row: Row = {'unseen camera': camera, 'windowed fit': px(keypoints_of(body, fit.params, seen.names))}
    for motion, options in MOTIONS.items():
        tracker = Tracker(body, seen.rig, fit, seen.names, **options)
        row[f'tracker, {motion}'] = px(np.stack([pose.points for pose in tracker.follow(seen)]))
    return row


def call_rows(n_frames: int) -> list[Row]:
    """Time a call of the registrant a frame, as it was done without a tracker, by the kernel and from the truth."""
    body, truth, seen = made_recording(n_frames)
    handlers = [
        Keypoint2dHandler(KeypointMSELoss(sigma=10.0, reduction='sum')),
        BodyPosePriorHandler(PoseRegLoss(reduction='sum')),
    ]
    weights = {'keypoints2d_mse': 1.0, handlers[1].handler_key: 5.0}
    stage = Stage(
        n_iter=20, ftol=1e-4, fit=('global_orient', 'body_pose', 'transl', 'scale'), weights=weights
    )
    fitter = SMPLify(body, [stage], handlers, LevenbergMarquardt())
    rows = []
    for name, given in (('init_params', truth), ('triangulated start', None)):
        times = []
        for i in range(n_frames):
            start = time.process_time()
            fitter([seen[i : i + 1]], None if given is None else given[i : i + 1])
            times.append(1e3 * (time.process_time() - start))
        rows.append({'SMPLify, a call a frame': name, 'ms': float(np.median(times[3:]))})
    return rows


def keypoints_of(body: SMIL, params: BodyParams, names: tuple[str, ...]) -> np.ndarray:
    """Pose the keypoints."""
    with torch.no_grad():
        return body(params, names).select(names).numpy()


def main() -> None:
    """Print the tables, and write them."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('--quick', action='store_true', help='a few frames, to try the code')
    parser.add_argument('--out', type=Path, default=RESULTS)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    n, folder = (20 if arguments.quick else 120), real_data()
    rows = made_rows(100 if arguments.quick else 1000)
    tables = {'tracking': rows, 'tracking_calls': call_rows(n)}
    if folder is not None:
        mouse, tables['tracking_unseen_px'] = mouse_rows(folder, n)
        rows += mouse
    for name, table in tables.items():
        print_rows(name, table)
        save(name, table, arguments.out, quick=arguments.quick)


if __name__ == '__main__':
    main()
