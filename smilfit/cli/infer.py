"""Predict a body in every frame of raw videos, images or a dataset file by a trained regressor."""

import argparse
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console

from smilfit.apis.options import LAUNCHERS
from smilfit.cli.argument_types import (
    animal_count,
    device,
    float_from,
    int_from,
    not_negative_int,
    positive_float,
    positive_int,
)
from smilfit.cli.command import DefaultsFormatter, add_import, add_traceback, add_training, run_command
from smilfit.cli.fit import EXIT_INCOMPLETE
from smilfit.cli.progress_bar import progress_bar

if TYPE_CHECKING:
    from smilfit.apis.inference import InferenceRun

EXIT_CODES = (
    'Exit codes: 0 all went well; 1 nothing could be done; 2 a bad command line; 3 done, and all files are written, '
    'but a frame was not predicted (which, and why, is printed and stands in predictions.json), or the refined '
    'fit is judged not believable (verdict.json says why).'
)
# As in apis/inference_drawing.py, which would bring torch with it.
REFINE_CONFIG = 'fit/multiview_keypoints_lm.py'
VIDEO_STYLES = ('overlay', 'side_by_side')
STOPPED = 'Stopped. The same command goes on after the last whole block of frames.'


def build_parser(prog: str | None = 'infer') -> argparse.ArgumentParser:
    """Describe the command line."""
    parser = argparse.ArgumentParser(
        prog=prog,
        description=__doc__
        + ' The checkpoint says which model it is; frames are read once, in order. What is there '
        'already is not made again, and a run that was stopped goes on after its last whole block.',
        epilog=EXIT_CODES,
        formatter_class=DefaultsFormatter,
    )
    parser.add_argument('checkpoint', type=Path, help='a checkpoint of a training')
    parser.add_argument(
        'source',
        type=Path,
        nargs='?',
        help='a session folder (synchronised videos and calibration.toml), a video, a folder of images, or a dataset '
        'file (.h5)',
    )
    parser.add_argument('--out', type=Path, required=True, metavar='DIR', help='folder for the results')
    add_training(parser)
    parser.add_argument(
        '--network',
        type=Path,
        metavar='FILE.onnx',
        help='what smilfit export wrote of the checkpoint, of a KeypointRegressor: onnxruntime runs it on the CPU in '
        "the network's place",
    )
    _add_source(parser)
    _add_frames(parser)
    _add_outputs(parser)
    _add_running(parser)
    add_import(parser)
    return parser


def _add_source(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group('what is read')
    group.add_argument(
        '--videos', nargs='+', metavar='CAMERA=FILE', help='videos by camera, instead of those in a folder'
    )
    group.add_argument('--calibration', type=Path, metavar='FILE.toml', help="the cameras, as anipose's")
    group.add_argument('--views', nargs='+', metavar='CAMERA', help='use these cameras alone')
    group.add_argument(
        '--sessions', nargs='+', metavar='NAME', help='sessions of a dataset file; all if not given'
    )
    group.add_argument(
        '--cameras',
        nargs='+',
        metavar='NEW=OLD',
        help="a recorded camera's name and its name in the training, for models that know cameras by name",
    )
    group.add_argument(
        '--boxes',
        default='own',
        metavar='own|sleap|whole|FILE.csv|NAME',
        help='where the animal is: found by the model where it can, else the whole frame (own); around the SLEAP '
        'labels beside the videos; the whole frame; a table (frame, camera, x, y, width, height in px); or a '
        'detector of yours, registered by --import',
    )
    group.add_argument(
        '--side', type=int_from(16, 8192), metavar='PX', help="side of the crops; the training's"
    )
    group.add_argument(
        '--fov',
        type=float_from(1.0, 170.0),
        metavar='DEG',
        help="angle of view of an uncalibrated camera's longer side, degrees; if not given, what preprocessing "
        'guesses: a focal length of 1.2 times that side (45 degrees)',
    )
    group.add_argument('--unit', help='world unit, where the calibration does not state it')
    group.add_argument(
        '--common', action='store_true', help='of videos of different length use the part that all have'
    )


def _add_frames(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group('several animals')
    group.add_argument(
        '--animals',
        type=animal_count,
        metavar='N|auto',
        help='so many animals share the recording: each has a folder animal_0, animal_1, ... and a track in the '
        'labels, videos show all. Needs a model with a map of centres (configs/train/keypoint_several.py). auto '
        'takes as many as are seen at once in a tenth of the frames; one animal if not given',
    )
    group = parser.add_argument_group('which frames')
    group.add_argument('--start', type=not_negative_int, default=0, help='the first frame')
    group.add_argument('--every', type=positive_int, default=1, help='take every n-th frame')
    group.add_argument('--max-frames', type=positive_int, help='so many at most; all if not given')
    group.add_argument('--fps', type=positive_float, help="frames per second, instead of the recording's")


def _add_outputs(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group('what is written beside predictions.npz and joint_angles.csv')
    group.add_argument(
        '--smoothing',
        type=float_from(0.0, 60.0),
        default=0.0,
        metavar='SECONDS',
        help='standard deviation of the Gaussian of time over which rotations, places and sizes are averaged, '
        'without lag; 0 smooths nothing. predictions.npz stays as predicted, smoothed.npz and all else are smoothed',
    )
    group.add_argument(
        '--refine',
        nargs='?',
        const=REFINE_CONFIG,
        metavar='CONFIG',
        help=f'fit the body to the keypoints that the network saw, from its prediction, and judge the fit '
        f'(refined.npz, verdict.json); a registrant config, {REFINE_CONFIG} if none is named',
    )
    group.add_argument('--video', choices=VIDEO_STYLES, help='a video of all views with the bodies drawn')
    group.add_argument('--video-views', nargs='+', metavar='CAMERA', help='cameras in the video, by name')
    group.add_argument(
        '--view-indices', nargs='+', type=not_negative_int, metavar='N', help='... or by number'
    )
    group.add_argument('--view-videos', action='store_true', help='a video a camera beside that of all')
    group.add_argument(
        '--window-px', type=int_from(16, 4096), default=400, help='longer side of a camera in videos, px'
    )
    group.add_argument('--meshes', choices=('obj', 'ply', 'glb'), help='write meshes in this format')
    group.add_argument('--mesh-every', type=positive_int, default=1, help='a mesh every n-th predicted frame')
    group.add_argument('--no-animation', action='store_true', help='write no animation.glb')
    group.add_argument(
        '--no-labels', action='store_true', help='write no SLEAP labels of predicted keypoints'
    )


def _add_running(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group('running')
    group.add_argument('--batch-size', type=positive_int, default=8, help='frames in the network at once')
    group.add_argument(
        '--block-size', type=positive_int, default=128, help='frames that are kept together; see above'
    )
    group.add_argument(
        '--device', type=device, default='auto', help='cpu, cuda, cuda:0 (or another number) or auto'
    )
    group.add_argument(
        '--threads', type=int_from(1, 1024), help="CPU threads; torch's own choice if not given"
    )
    group.add_argument(
        '--launcher',
        choices=LAUNCHERS,
        default='none',
        help='what started the processes that share the frames: python -m torch.distributed.run (pytorch) or srun '
        '(slurm)',
    )
    group.add_argument('--overwrite', action='store_true', help='predict again what is there already')
    add_traceback(group)


def main(argv: Sequence[str] | None = None, prog: str = 'infer') -> int:
    """Run the command; the exit codes are those that the parser's help names."""
    return run_command(_run, build_parser, argv, prog, STOPPED)


def _run(arguments: argparse.Namespace) -> int:
    # Imported late: --help should not wait for torch.
    from smilfit.apis import FrameOptions, InferenceOutputs, SourceOptions, infer

    if arguments.source is None and not arguments.videos:
        raise ValueError('infer: a source must be given; got neither SOURCE nor --videos CAMERA=FILE.')
    with progress_bar(sys.stderr.isatty()) as progress:
        sources = SourceOptions(
            videos={name: Path(value) for name, value in _pairs('--videos', arguments.videos).items()},
            calibration=arguments.calibration,
            views=tuple(arguments.views or ()),
            sessions=tuple(arguments.sessions or ()),
            boxes=arguments.boxes,
            side=arguments.side,
            fov_deg=arguments.fov,
            common=arguments.common,
            unit=arguments.unit,
        )
        frames = FrameOptions(
            **{n: getattr(arguments, n) for n in ('start', 'every', 'max_frames', 'batch_size', 'block_size')}
        )
        done = infer(
            arguments.checkpoint,
            arguments.source,
            arguments.out,
            config=arguments.config,
            body_model=arguments.body_model,
            network=arguments.network,
            sources=sources,
            frames=frames,
            outputs=InferenceOutputs(
                **_outputs_of(arguments), **({} if progress is None else {'progress': progress})
            ),
            cameras=_pairs('--cameras', arguments.cameras),
            animals=arguments.animals,
            fps=arguments.fps,
            device=arguments.device,
            threads=arguments.threads,
            launcher=arguments.launcher,
            overwrite=arguments.overwrite,
            progress=progress,
        )
    return 0 if done is None else show_runs(done)


def _outputs_of(arguments: argparse.Namespace) -> dict[str, Any]:
    if arguments.video_views and arguments.view_indices:
        raise ValueError(
            'infer: views of the video must be named or numbered; got --video-views and --view-indices.'
        )
    if (arguments.video_views or arguments.view_indices or arguments.view_videos) and not arguments.video:
        raise ValueError(f'infer: views of a video need one; give --video {"|".join(VIDEO_STYLES)}.')
    return {
        'smoothing_s': arguments.smoothing,
        'refine': arguments.refine or '',
        'animation': not arguments.no_animation,
        'labels': not arguments.no_labels,
        'meshes': arguments.meshes or '',
        'mesh_every': arguments.mesh_every,
        'video': arguments.video or '',
        'video_views': tuple(arguments.video_views or ()) or tuple(arguments.view_indices or ()),
        'view_videos': arguments.view_videos,
        'window_px': arguments.window_px,
    }


def show_runs(done: Sequence['InferenceRun']) -> int:
    """Print what came out; gives the exit code."""
    from smilfit.evaluation.verdict import NOT_BELIEVABLE

    console = Console()

    def say(text: str) -> None:
        console.print(text, highlight=False, soft_wrap=True, markup=False)

    incomplete = False
    for run in done:
        valid = int(run.predictions.valid.sum())
        say(f'{run.name}: {valid} of {len(run.predictions)} frames predicted')
        for reason, count in run.report['frames_not_predicted'].items():
            say(f'  - {count} not: {reason}')
            incomplete = True
        missing = run.report['views_missing']
        if missing['views']:
            say(f'  - {missing["views"]} views missing, in {missing["frames_with_fewer_views"]} frames')
        if run.identities:
            _say_identity(run.identities, say)
        if run.verdict is not None:
            say(f'  refined: {run.verdict.word}')
            for reason in run.verdict.reasons:
                say(f'  - {reason}')
            incomplete |= run.verdict.word == NOT_BELIEVABLE
        say(f'predictions: {run.file}')
    return EXIT_INCOMPLETE if incomplete else 0


def _say_identity(told: dict[str, Any], say: Callable[[str], None]) -> None:
    """Tell of one of several animals where it was lost, and where it may be another."""
    unsure, again = told['frames_unsure'], told['taken_up_again']
    if again:
        guess = f', {told["taken_up_by_guess"]} times by guess' if told['taken_up_by_guess'] else ''
        say(f'  - lost and taken up again {again} times{guess}')
    if unsure:
        say(f'  - may have changed places with another in {len(unsure)} frames, the first {unsure[0]}')


def _pairs(option: str, values: Sequence[str] | None) -> dict[str, str]:
    """Read NAME=VALUE pairs."""
    found: dict[str, str] = {}
    for value in values or ():
        name, there, text = value.partition('=')
        if not there or not name or not text or name in found:
            raise ValueError(f'{option}: must be pairs NAME=VALUE, each name once; got {value!r}.')
        found[name] = text
    return found


if __name__ == '__main__':
    sys.exit(main())
