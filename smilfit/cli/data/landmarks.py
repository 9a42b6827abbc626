"""Show a model's keypoints, and propose which of them the keypoints of annotations are."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from smilfit.apis.model_options import LookupOptions
from smilfit.cli.command import INCOMPLETE, command, exit_codes
from smilfit.cli.next_step import POINTS3D, likely_format, no_fps_stated, preprocess_step
from smilfit.cli.parser import keywords_of
from smilfit.cli.terminal import print_table
from smilfit.options.fields import option

if TYPE_CHECKING:
    from smilfit.apis.preprocessing.lookup_proposal import LookupProposal


@dataclass(frozen=True, kw_only=True)
class Arguments(LookupOptions):
    """A command line of `landmarks`."""

    model: Path = option(help='body model (.smil.json, .pkl)', positional=True, metavar='MODEL')
    data: Path | None = option(
        None, 'sessions or annotations: a folder or file', positional=True, metavar='DATA'
    )
    out: Path | None = option(
        None, 'the table to write (default: joint_lookup.csv)', positional=True, metavar='OUT.csv'
    )
    format: str | None = option(
        None,
        'format of DATA, as preprocess names them (default: points3d for .mat, .nwb, .npz and points3d.h5, else '
        'sleap)',
        metavar='NAME',
    )
    images: Path | None = option(None, 'folder that image paths are relative to', metavar='DIR')
    unit: str | None = option(None, 'world unit where the data state none, such as mm', metavar='UNIT')
    skeleton: Path | None = option(
        None, 'names of the keypoints of points3d, where DATA has none', metavar='FILE'
    )
    fps: float | None = option(
        None,
        'frames a second of points3d, where DATA states none: part of the command that is printed at the end',
        low=0.0,
        above=True,
        metavar='N',
    )
    partial_labels: bool = option(False, 'labels may end before their video')


@command(
    Arguments,
    'landmarks',
    (
        f'{__doc__} Writes joint_lookup.csv, the table to go on with by hand, and a page with the model from '
        'several sides beside labelled frames. Without DATA it lists and shows the keypoints of the model.'
    ),
    exit_codes('every keypoint has a place', 'done, but keypoints were left without a place'),
)
def main(options: Arguments) -> int:
    """Run the command."""
    # Imported late: --help should not wait for torch.
    from smilfit.apis.preprocessing.data_source import DataSource
    from smilfit.apis.preprocessing.lookup_proposal import propose_joint_lookup

    source, data_format = None, ''
    if options.data is not None:
        data_format = options.format or likely_format(options.data)
        if options.fps is not None and data_format != POINTS3D:
            raise ValueError(
                f'--fps: must go with points3d; got {data_format}, whose videos have their own. Leave it out.'
            )
        source = DataSource(
            data_format,
            options.data,
            unit=options.unit,
            images=options.images,
            partial_labels=options.partial_labels,
            skeleton=options.skeleton,
            fps=options.fps,
        )
    done = propose_joint_lookup(options.model, source, options.out, **keywords_of(options, LookupOptions))
    code = show_proposal(done)
    if options.data is not None and done.table is not None:
        unit, fps = options.unit, options.fps
        if (likely := done.likely_unit) is not None:
            unit = likely.unit
            print(
                f'unit: none is stated; points are {likely.points:.3g} long and the model {likely.model_mm:.3g} mm, '
                f'so they are taken for {unit} below. Change --unit if that is wrong.'
            )
        if done.taken_fps is not None:
            fps = done.taken_fps
            print(no_fps_stated(fps))
        further = {'skeleton': options.skeleton, 'images': options.images, 'unit': unit, 'fps': fps}
        print(f'next: {preprocess_step(data_format, options.data, options.model, done.table, further)}')
    return code


def show_proposal(done: 'LookupProposal') -> int:
    """Print what was proposed; gives the exit code."""
    print(f'axes: {done.axes.source}')
    if done.table is None:
        print(f'{done.body.n_joints} joints: {", ".join(done.body.joint_names)}')
        for name, keypoints in done.body.keypoint_sets.items():
            print(f'keypoint set {name}: {", ".join(keypoints)}')
    else:
        columns = ('annotated', 'model', 'confidence', 'why')
        rows = [(row.data, row.model or None, row.confidence or None, row.remark) for row in done.rows]
        print_table('proposed lookup', columns, rows, text=columns)
        if empty := [row.data for row in done.rows if not row.model]:
            print(
                f'{len(empty)} without a place: {", ".join(empty)}. Write one into the table, or leave them out.'
            )
        print(f'table: {done.table}')
    print(f'page: {done.page}')
    return INCOMPLETE if any(not row.model for row in done.rows) else 0
