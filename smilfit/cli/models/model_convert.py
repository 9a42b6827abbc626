"""`smilfit model convert`: a body model from one file format to another."""

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from smilfit.cli.command import INCOMPLETE, command, exit_codes
from smilfit.cli.parser import keywords_of
from smilfit.options.fields import option

# Of the body's size; glTF holds single precision.
SAME_BODY = 1e-6


@dataclass(frozen=True)
class FilesOfSmal:
    """What the authors of SMAL publish beside the model becomes part of the one new file."""

    heading: ClassVar[str] = 'the other files of SMAL, which become part of the one new file'

    data_file: Path | None = option(
        None,
        'shapes of families (my_smpl_data_00781_4_all.pkl); with --family',
        flag='--data',
        kind='existing_file',
        metavar='FILE.pkl',
    )
    family: str | None = option(None, 'one of them: cats, dogs, horses, cows or hippos')
    shape_prior_file: Path | None = option(
        None,
        'mean and covariance of shapes (unity_betas.npz), instead of a family',
        flag='--shape-prior',
        kind='existing_file',
        metavar='FILE.npz',
    )
    pose_prior_file: Path | None = option(
        None,
        'mean and covariance of poses (..._pose_prior_with_cov_35parts.pkl)',
        flag='--pose-prior',
        kind='existing_file',
        metavar='FILE.pkl',
    )
    symmetry_file: Path | None = option(
        None,
        'which vertex is whose image on the other side (symIdx.pkl)',
        flag='--symmetry',
        kind='existing_file',
        metavar='FILE.pkl',
    )


@dataclass(frozen=True, kw_only=True)
class Arguments(FilesOfSmal):
    """A command line of `model convert`."""

    source: str = option(
        help='a body model (.smil.json, .pkl, .npz, a .glb that this command wrote), or quadruped or insect; rigs of '
        'other programs: smilfit model import',
        positional=True,
        metavar='IN',
    )
    target: Path = option(help='the new file, which must not be there yet', positional=True, metavar='OUT')


@command(
    Arguments,
    'model convert',
    (
        'Write a body model in another format, as the new name ends: .smil.json (everything), .pkl and '
        '.npz (as SMILify, SMAL, SMPL and smplx read them), .glb (glTF 2.0: skin, skeleton and shape directions as '
        'morph targets; metres and y up where unit and axes are known). What a format cannot hold is told. The new '
        'file is read back, and random poses and shapes of both are compared.'
    ),
    exit_codes('done', 'done, but what was read back is another body', failed='not done'),
)
def main(options: Arguments) -> int:
    """Run the command."""
    from smilfit.rigs.converting import convert_model

    parts = keywords_of(options, FilesOfSmal)
    named = {name: value for name, value in parts.items() if value is not None}
    done = convert_model(options.source, options.target, named)
    data = done.data
    print(
        f'{data.name}: {data.n_vertices} vertices, {data.n_joints} joints, {data.n_betas} betas -> {options.target}'
    )
    for words in done.lost:
        print(f'not held by {options.target.suffix}: {words}')
    print(
        f"read back: bodies of random poses and shapes differ by at most {done.difference:.1e} of the body's size"
    )
    if done.difference > SAME_BODY:
        print('warning: that is not the same body; what is not held says why.')
        return INCOMPLETE
    return 0
