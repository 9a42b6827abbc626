"""Tables of a fit: joint angles, bone lengths, frames and what they were judged to be."""

import csv
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import torch

from smilfit.io.exports.base import ExportedFit, ExportOptions, FitExporter
from smilfit.io.exports.joint_angles import NAMED, PLAIN, joint_angles
from smilfit.registry import EXPORTERS

ANGLES, BONES, FRAMES, BAD_FRAMES = 'joint_angles.csv', 'bone_lengths.csv', 'frames.csv', 'bad_frames.txt'
BAD_FRAMES_WHY = 'bad_frames.csv'
# Words of frames that nobody should use.
_BAD = ('not believable', 'not fitted')


@EXPORTERS.register_module(name='angles')
class AnglesExporter(FitExporter):
    """`joint_angles.csv`: each joint's rotation in its parent's frame, degrees, with place and size."""

    needs = ('body',)

    def write(self, folder: Path, fit: ExportedFit, options: ExportOptions) -> None:
        """Write it; a row a frame, empty where none was fitted."""
        write_angles(folder / ANGLES, fit)


def write_angles(path: Path, fit: ExportedFit) -> None:
    """Write every joint's angles about x, y, z of the model at rest and about its bone's own axes, degrees.

    Standard deviations stand beside them where the fit has any.
    """
    rows = np.flatnonzero(fit.valid)
    params, covariance = fit.params, fit.fit.covariance
    if covariance is not None:
        covariance = covariance.take(torch.from_numpy(rows))
    result = joint_angles(fit.body, params, covariance)
    tables = [result.degrees] + ([] if result.sd is None else [result.sd])
    header = ['frame', 'time_s', 'valid', *(['image'] if fit.labels else [])]
    for name in result.names:
        header += [
            f'{name}_{axis}_{what}' for what in ('deg', 'sd_deg')[: len(tables)] for axis in (*PLAIN, *NAMED)
        ]
    header += [f'transl_{axis}_{fit.unit or "unit"}' for axis in 'xyz'] + ['scale']
    # Of each joint its angles, then what is known of them.
    joints = np.stack(tables, 2).reshape(len(rows), -1)
    place = torch.cat((params.transl, params.scale.unsqueeze(1)), 1).double().numpy()
    filled = np.full((len(fit.frames), joints.shape[1] + 4), np.nan)
    filled[rows] = np.concatenate((joints, place), 1)
    _write(path, header, (_start(fit, t) + _cells(numbers) for t, numbers in enumerate(filled)))


@EXPORTERS.register_module(name='bones')
class BonesExporter(FitExporter):
    """`bone_lengths.csv`: from each joint's parent to it, in the unit, mean over frames, beside the model at rest."""

    needs = ('body',)

    def write(self, folder: Path, fit: ExportedFit, options: ExportOptions) -> None:
        """Write it; a row a bone. The length at rest is the mean shape's, by the fit's scale."""
        body, params, unit = fit.body, fit.params, fit.unit or 'unit'
        with torch.no_grad():
            joints = body(params, ('joints',)).joints.double().numpy()
            rest = body(body.zero_params(), ('joints',)).joints[0].double().numpy()
        above = np.asarray(body.data.parents)
        scale = float(params.scale.double().mean())
        header = ['bone', 'parent', f'length_{unit}', f'sd_over_frames_{unit}', f'at_rest_{unit}', 'ratio']
        rows = []
        for j, parent in enumerate(above.tolist()):
            if parent < 0:
                continue
            length = np.linalg.norm(joints[:, j] - joints[:, parent], axis=-1)
            still = scale * float(np.linalg.norm(rest[j] - rest[parent]))
            ratio = length.mean() / still if still > 0 else np.nan
            numbers = _cells(np.array([length.mean(), length.std(), still, ratio]))
            rows.append([body.joint_names[j], body.joint_names[parent], *numbers])
        _write(folder / BONES, header, rows)


@EXPORTERS.register_module(name='frames')
class FramesExporter(FitExporter):
    """`frames.csv`: each frame's verdict, its reason and its error; `bad_frames.txt`: those to leave out.

    The latter are not believable, not fitted, or have keypoints that are not good; `bad_frames.csv` says why.
    """

    def write(self, folder: Path, fit: ExportedFit, options: ExportOptions) -> None:
        """Write all; a fit that was not judged has no words, and its bad frames are those without a fit."""
        verdict = fit.fit.verdict
        words = verdict.frame_words if verdict else [''] * len(fit.frames)
        words = [word if valid else 'not fitted' for word, valid in zip(words, fit.valid.tolist())]
        reasons = verdict.frame_reasons if verdict else [''] * len(fit.frames)
        loss = fit.fit.per_frame_loss.double().cpu().numpy()
        converged = fit.fit.converged.cpu().tolist()
        header = ['frame', 'time_s', 'valid', *(['image'] if fit.labels else [])]
        errors = _median_px(fit)
        header += ['verdict', 'reason', 'converged', 'loss', *(f'median_px_{name}' for name in errors)]
        header += ['keypoints_not_good']
        named = verdict.frame_keypoints if verdict else ()
        keypoints = [' '.join(names) for names in named] or [''] * len(fit.frames)
        _write(folder / FRAMES, header, (
            [*_start(fit, t), words[t], reasons[t], int(converged[t]), *_cells([loss[t]]),
             *_cells([error[t] for error in errors.values()]), keypoints[t]]
            for t in range(len(fit.frames))
        ))  # fmt: skip
        bad = [t for t, word in enumerate(words) if word in _BAD or keypoints[t]]
        names = [str(fit.labels[t] if fit.labels else fit.frames[t]) for t in bad]
        (folder / BAD_FRAMES).write_text(''.join(f'{name}\n' for name in names), encoding='utf-8')
        why = ([name, words[t], keypoints[t], reasons[t]] for name, t in zip(names, bad))
        _write(folder / BAD_FRAMES_WHY, ['frame', 'verdict', 'keypoints_not_good', 'reason'], why)


def _median_px(fit: ExportedFit) -> dict[str, np.ndarray]:
    """Return by camera each frame's median distance from the annotated points, where these are at hand."""
    if fit.observed is None or not fit.keypoint_names or (fit.pixels is None and fit.cameras is None):
        return {}
    annotated, (xy, score) = fit.observed.select(fit.keypoint_names), fit.points2d
    both = (annotated.confidence > 0).numpy() & (score > 0)
    distance = np.linalg.norm(np.nan_to_num(xy) - annotated.xy.numpy(), axis=-1)
    result = np.ma.median(np.ma.masked_array(distance, ~both), axis=-1).filled(np.nan)
    return {name: result[:, c] for c, name in enumerate(fit.camera_names)}


def _start(fit: ExportedFit, t: int) -> list[object]:
    time = f'{fit.times_s[t]:.6f}' if fit.fps and fit.in_time else ''
    return [int(fit.frames[t]), time, int(fit.valid[t]), *([fit.labels[t]] if fit.labels else [])]


def _cells(numbers: Sequence[float] | np.ndarray) -> list[object]:
    return ['' if np.isnan(n) else f'{n:.6g}' for n in numbers]


def _write(path: Path, header: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    with path.open('w', newline='', encoding='utf-8') as file:
        table = csv.writer(file)
        table.writerow(header)
        table.writerows(rows)
