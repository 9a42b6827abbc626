"""`smilfit model convert`: a body model from one file format to another."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from smilfit.cli.argument_types import existing_file
from smilfit.cli.command import add_import, add_traceback, run_command

# Written, but what was read back is not the same body.
EXIT_DOUBTS = 3
# Of the body's size; glTF holds single precision.
SAME_BODY = 1e-6


def build_parser(prog: str | None = 'model convert') -> argparse.ArgumentParser:
    """Make the argument parser."""
    made = argparse.ArgumentParser(
        prog=prog,
        description='Write a body model in another format, as the new name ends: .smil.json (everything), .pkl and '
        '.npz (as SMILify, SMAL, SMPL and smplx read them), .glb (glTF 2.0: skin, skeleton and shape directions as '
        'morph targets; metres and y up where unit and axes are known). What a format cannot hold is told. The new '
        'file is read back, and random poses and shapes of both are compared.',
        epilog='Exit codes: 0 done; 1 not done; 2 a bad command line; 3 done, but what was read back is another '
        'body.',
    )
    made.add_argument(
        'source',
        metavar='IN',
        help='a body model (.smil.json, .pkl, .npz, a .glb that this command wrote), or quadruped or insect; rigs of '
        'other programs: smilfit model import',
    )
    made.add_argument('target', type=Path, metavar='OUT', help='the new file, which must not be there yet')
    smal = made.add_argument_group(
        'the other files of SMAL',
        'what its authors publish beside the model becomes part of the one new file',
    )
    smal.add_argument(
        '--data',
        type=existing_file,
        dest='data_file',
        metavar='FILE.pkl',
        help='shapes of families (my_smpl_data_00781_4_all.pkl); with --family',
    )
    smal.add_argument('--family', help='one of them: cats, dogs, horses, cows or hippos')
    smal.add_argument(
        '--shape-prior',
        type=existing_file,
        dest='shape_prior_file',
        metavar='FILE.npz',
        help='mean and covariance of shapes (unity_betas.npz), instead of a family',
    )
    smal.add_argument(
        '--pose-prior',
        type=existing_file,
        dest='pose_prior_file',
        metavar='FILE.pkl',
        help='mean and covariance of poses (..._pose_prior_with_cov_35parts.pkl)',
    )
    smal.add_argument(
        '--symmetry',
        type=existing_file,
        dest='symmetry_file',
        metavar='FILE.pkl',
        help='which vertex is whose image on the other side (symIdx.pkl)',
    )
    add_traceback(made)
    add_import(made)
    return made


def main(argv: Sequence[str] | None = None, prog: str | None = None) -> int:
    """Run the command; the exit codes are those that the parser's help names."""
    return run_command(_run, build_parser, argv, prog)


def _run(arguments: argparse.Namespace) -> int:
    from smilfit.rigs.converting import convert_model

    named = ('data_file', 'family', 'shape_prior_file', 'pose_prior_file', 'symmetry_file')
    parts = {name: getattr(arguments, name) for name in named}
    given = {name: value for name, value in parts.items() if value is not None}
    done = convert_model(arguments.source, arguments.target, given)
    data = done.data
    print(
        f'{data.name}: {data.n_vertices} vertices, {data.n_joints} joints, {data.n_betas} betas -> {arguments.target}'
    )
    for words in done.lost:
        print(f'not held by {arguments.target.suffix}: {words}')
    print(
        f"read back: bodies of random poses and shapes differ by at most {done.difference:.1e} of the body's size"
    )
    if done.difference > SAME_BODY:
        print('warning: that is not the same body; what is not held says why.')
        return EXIT_DOUBTS
    return 0


if __name__ == '__main__':
    sys.exit(main())
