"""What does a network gain that is adapted to a video of which every twentieth frame is labelled?

    python -m benchmarks.video [--animals NAME ...] [--seeds N] --keep DIR [--quick]

It trains by the documented way (as benchmarks.regression, whose folder it may share), renders videos by
`smilfit synthesize` (`fast`: one camera, other looks, 30 frames a second; `slow`: one camera, 60 a second; `two`: two
cameras), keeps the labels of every twentieth frame, and runs `smilfit adapt`. PCK counts visible keypoints of the
other frames within a share of the root of the animal's area. Beside it stand answers without any image (labels on
lines between, and carried along the flow), the network as it came, and one that learned from the given labels alone,
frame by frame. `acceleration` is the error of the second difference, px. `PA %` is of the body, of the animal's
length, after alignment, beside the rest pose's. Wrong cases: labels of another video, those of other frames, and left
and right exchanged in half of the frames.
"""

import argparse
import json
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from benchmarks.measuring import RESULTS, Row, print_rows, save
from benchmarks.regression.__main__ import QUICK, Size, body_model, command, trained
from benchmarks.regression.scoring import Truth, keypoints_of, word_of
from smilfit.body_models import SMIL, load_body_model
from smilfit.body_models.sides import mirrored_order
from smilfit.evaluation.keypoint_errors import align_similarity
from smilfit.io import read_calibration, read_labels, write_slp
from smilfit.io.recordings.synchronised_videos import SynchronisedVideos
from smilfit.networks.engine import load_trained_regressor
from smilfit.networks.video.adaptation import AdaptationOptions, FrameLabels, adapted, cut_frames
from smilfit.networks.video.flow import DISFlow
from smilfit.networks.video.tracking import FlowOfRecording, carried_over, look_over
from smilfit.renderers import SilhouetteRenderer
from smilfit.structures import BodyParams, FitResult

FRAMES, EVERY = 200, 20
VIDEOS = {
    'fast': ('--style', 'other', '--fps', 30),
    'slow': ('--style', 'varied', '--fps', 60, '--memory', 0.5),
    'two': ('--style', 'other', '--fps', 30),
}
WRONG = ('of another video', 'of other frames', 'sides exchanged')


@dataclass(frozen=True)
class View:
    """One camera of a made video: truth, what is visible, the animal's size, and labels of some frames."""

    name: str
    session: Path
    truth: np.ndarray
    visible: np.ndarray
    inside: np.ndarray
    size: np.ndarray
    labels: FrameLabels

    @property
    def video(self) -> Path:
        """The video's file."""
        return next((self.session / self.name).glob('*.mp4'))


def main(arguments: Sequence[str] | None = None) -> int:
    """Print and write the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('--animals', nargs='+', default=['quadruped', 'insect'])
    parser.add_argument('--seeds', type=int, default=3, help='of videos; each animal is trained once')
    parser.add_argument('--keep', type=Path, required=True, help='folder of all that is made, found again')
    parser.add_argument('--out', type=Path, default=RESULTS, help='folder for JSON and CSV')
    parser.add_argument('--quick', action='store_true', help='tiny, to see that it runs')
    options = parser.parse_args(arguments)
    options.config, options.cfg_options = 'train/keypoint_unet.py', []
    if options.quick:
        options.cfg_options = ['train_dataloader.sampler.samples_per_epoch=16']
    rows: list[Row] = []
    for animal in options.animals:
        model = body_model(animal, options.keep)
        assert model is not None
        checkpoint, _ = trained(animal, model, 0, QUICK if options.quick else Size(), options)
        for seed in range(options.seeds):
            for kind in list(VIDEOS)[: 1 if options.quick else None]:
                rows += list(rows_of(animal, model, checkpoint, kind, seed, options))
    print_rows('networks adapted to a video', rows)
    save('video', rows, options.out)
    return 0


def rows_of(
    animal: str, model: str, checkpoint: Path, kind: str, seed: int, options: argparse.Namespace
) -> Iterator[Row]:
    """Render a video, adapt, and score all answers."""
    frames, steps = (40, ['--steps', 8]) if options.quick else (FRAMES, [])
    body = load_body_model(model)
    folder = options.keep / f'{animal}_video_{kind}_{seed}'
    if not (folder / 'shape_betas.csv').is_file():
        how = ['--sessions', 2, '--frames', frames, '--cameras', 2, '--size', 320, 256, '--seed', 2000 + seed]
        command('synthesize', model, folder, *how, *VIDEOS[kind])
    sessions = sorted(folder.glob('session_*'))
    names = read_calibration(sessions[0] / 'calibration.toml').names
    network = load_trained_regressor(checkpoint).model
    order = tuple(network.keypoint_names)
    views = [view_of(sessions[0], name, body, order) for name in (names if kind == 'two' else names[1:])]
    common = {'animal': animal, 'video': kind, 'seed': seed}
    answers = answers_of(network, views, 3 if options.quick else 150)
    out = folder / 'adapted'
    arguments = adaptation(checkpoint, views, out, [v.labels for v in views], order)
    seconds = 60 * command('adapt', *arguments, *steps, '--overwrite')
    answers['adapted, paths'] = (
        [read_labels(out / 'paths' / f'{"camera" if len(views) == 1 else v.name}.slp').xy for v in views],
        seconds,
    )
    result = FitResult.load(out / 'refined.npz', body)
    truth = Truth.read(sessions[0], body)
    for what, (places, spent) in answers.items():
        row = {**common, 'what': what, **scored(views, places), 'CPU s': spent}
        yield row | dict.fromkeys(('PA %', 'rest pose PA %', 'labels', 'body'))
    yield {
        **{**common, 'what': 'body', 'PCK .05': None, 'PCK .10': None, 'acceleration': None, 'median': None},
        **{'CPU s': None, **aligned(body, result, truth), **words(out)},
    }
    other = view_of(sessions[1], names[1], body, order)
    for case in WRONG:
        wrong = folder / f'wrong_{case.replace(" ", "_")}'
        labels = [spoiled(view.labels, case, other.labels, network, seed) for view in views]
        arguments = adaptation(checkpoint, views, wrong, labels, order)
        command('adapt', *arguments, *steps, '--refine', '', '--overwrite')
        nothing = dict.fromkeys(
            ('PCK .05', 'PCK .10', 'acceleration', 'median', 'CPU s', 'PA %', 'rest pose PA %')
        )
        yield {**common, 'what': f'wrong case: labels {case}', **nothing, **words(wrong)}


def view_of(session: Path, name: str, body: SMIL, order: Sequence[str]) -> View:
    """Read one camera of a made session."""
    cameras, truth = (
        read_calibration(session / 'calibration.toml').select([name]),
        np.load(session / 'truth.npz'),
    )
    names = [str(n) for n in truth['keypoint_names']]
    pixels = cameras.project(torch.from_numpy(truth['keypoints3d']).double())[0][:, 0].numpy()
    pixels = pixels[:, [names.index(n) for n in order]]
    given = read_labels(next((session / name).glob('*.slp')))
    visible = np.zeros(pixels.shape[:2], np.bool_)
    visible[: len(given)] = np.isfinite(given.xy[:, [given.node_names.index(n) for n in order], 0])
    width, height = cameras.size[0].tolist()
    params = BodyParams.of(
        {
            n: torch.from_numpy(truth[n]).float()
            for n in ('global_orient', 'body_pose', 'betas', 'transl', 'scale')
        }
    )
    areas, every = [], range(0, len(pixels), 25)
    with torch.no_grad():
        for first in every:
            skin = body(params[first : first + 25], ('vertices',)).vertices
            alpha = SilhouetteRenderer()(skin, body.faces, cameras.to(torch.float32)).alpha
            areas.append((alpha.reshape(len(skin), -1) > 0.5).sum(1))
    known = np.zeros_like(visible)
    known[EVERY // 2 :: EVERY] = visible[EVERY // 2 :: EVERY]
    return View(
        *(name, session, pixels, visible),
        inside=((pixels > 0) & (pixels < [width - 1, height - 1])).all(-1),
        size=np.sqrt(torch.cat(areas).numpy().clip(1)),
        labels=FrameLabels(np.where(known[..., None], pixels, 0), known, np.arange(len(pixels)) / 30),
    )


def answers_of(
    network: torch.nn.Module, views: Sequence[View], steps: int
) -> dict[str, tuple[list[np.ndarray], float]]:
    """Return the answers beside which adaptation stands: places by camera, and CPU seconds."""
    result: dict[str, tuple[list[np.ndarray], float]] = {
        'labels on lines': ([interpolated(v.labels) for v in views], 0)
    }
    start, carried, parts, readers = time.process_time(), [], [], []
    for view in views:
        reader = SynchronisedVideos({view.name: view.video})
        readers.append(lambda rows, r=reader, n=view.name: (f.images[n] for f in r.frames(rows)))
        along = carried_over(view.labels, FlowOfRecording(readers[-1], len(view.truth), DISFlow()))
        lines = interpolated(view.labels)
        carried.append(np.where(along.weight[..., None] > 0, along.xy, lines))
    result['labels carried'] = (carried, time.process_time() - start)

    def alone(model: torch.nn.Module) -> list[np.ndarray]:
        return [look_over(model, r, v.labels).modes[:, :, 0] for r, v in zip(readers, views)]

    start = time.process_time()
    result['network as it came'] = (alone(network), time.process_time() - start)
    start = time.process_time()
    for reader, view in zip(readers, views):
        rows = view.labels.frames.tolist()
        images, labels = zip(rows, reader(rows)), view.labels
        parts.append(cut_frames(images, labels.xy, labels.known * 1.0, network.vision.side)[1])
    parent = adapted(network, type(parts[0]).cat(parts), AdaptationOptions(steps=steps))
    result['learned given labels'] = (alone(parent), time.process_time() - start)
    return result


def interpolated(labels: FrameLabels) -> np.ndarray:
    """Return labels on lines between labelled frames; NaN for keypoints that are labelled nowhere."""
    rows = np.arange(len(labels.xy))
    result = np.full(labels.xy.shape, np.nan)
    for k in range(labels.known.shape[1]):
        known = np.flatnonzero(labels.known[:, k])
        if len(known):
            for axis in range(2):
                result[:, k, axis] = np.interp(rows, known, labels.xy[known, k, axis])
    return result


def adaptation(
    checkpoint: Path, views: Sequence[View], out: Path, labels: Sequence[FrameLabels], names: Sequence[str]
) -> list[object]:
    """Write labels, and return the arguments of `adapt`."""
    folder = out.parent / f'{out.name}_labels'
    folder.mkdir(parents=True, exist_ok=True)
    for view, own in zip(views, labels):
        xy = np.where(own.known[..., None], own.xy, np.nan)
        write_slp(folder / f'{view.name}.slp', xy, names, view.video)
    one = len(views) == 1
    source = [views[0].video, folder / f'{views[0].name}.slp'] if one else [views[0].session, folder]
    calibration = ['--fov', 45] if one else []
    return [checkpoint, *source, '--out', out, '--no-animation', *calibration]


def scored(views: Sequence[View], places: Sequence[np.ndarray]) -> Row:
    """Score places of frames and keypoints that were not labelled, and their accelerations."""
    shares, accelerations = [], []
    for view, xy in zip(views, places):
        off = np.linalg.norm(np.nan_to_num(xy, nan=-1e4) - view.truth, axis=-1) / view.size[:, None]
        valid = view.visible.copy()
        valid[view.labels.frames] = False
        shares.append(off[valid])
        curve = np.linalg.norm(np.diff(xy, 2, axis=0) - np.diff(view.truth, 2, axis=0), axis=-1)
        three = view.inside[:-2] & view.inside[1:-1] & view.inside[2:]
        accelerations.append(curve[three & np.isfinite(curve)])
    off, curve = np.concatenate(shares), np.concatenate(accelerations)
    return {
        'PCK .05': 100 * float((off < 0.05).mean()),
        'PCK .10': 100 * float((off < 0.1).mean()),
        'acceleration': float(curve.mean()),
        'median': float(np.median(curve)),
    }


def aligned(body: SMIL, result: FitResult, truth: Truth) -> Row:
    """Compare the fitted body, and the rest pose, with the truth after the best similarity."""
    every, shares = np.ones(truth.points.shape[:2]), 100 / truth.length
    fitted = keypoints_of(body, result.params, truth.names)
    rest = np.broadcast_to(keypoints_of(body, body.zero_params(), truth.names)[0], truth.points.shape)
    errors = [
        np.linalg.norm(align_similarity(p, truth.points, every) - truth.points, axis=-1).mean(1) * shares
        for p in (fitted, rest)
    ]
    return {'PA %': float(errors[0].mean()), 'rest pose PA %': float(errors[1].mean())}


def words(folder: Path) -> Row:
    """Read both verdicts."""
    labels = json.loads((folder / 'adaptation.json').read_text())
    return {'labels': None if labels is None else labels['word'], 'body': word_of(folder)}


def spoiled(
    labels: FrameLabels, case: str, other: FrameLabels, network: torch.nn.Module, seed: int
) -> FrameLabels:
    """Return labels that are wrong."""
    rng, rows = np.random.default_rng(seed), labels.frames
    if case == 'of another video':
        return other
    xy, known = labels.xy.copy(), labels.known.copy()
    if case == 'of other frames':
        mixed = rng.permutation(rows)
        xy[rows], known[rows] = xy[mixed], known[mixed]
    else:
        swap = list(mirrored_order(network.keypoint_names, network.body_model.data))
        some = rng.choice(rows, len(rows) // 2, replace=False)
        xy[some], known[some] = xy[some][:, swap], known[some][:, swap]
    return FrameLabels(xy, known, labels.times)


if __name__ == '__main__':
    raise SystemExit(main())
