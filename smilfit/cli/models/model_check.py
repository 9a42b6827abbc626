"""`smilfit model check`: say in words what is wrong with a rigged model, and where."""

import argparse
import json
import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from smilfit.cli.command import run_command
from smilfit.cli.models import model_or_rig
from smilfit.cli.next_step import clean_step
from smilfit.cli.parser import make_parser
from smilfit.options.fields import option

# Looked at, but something speaks against the model.
EXIT_DOUBTS = 3


@dataclass(frozen=True, kw_only=True)
class Command:
    """What a command line says."""

    model: str = model_or_rig()
    json: Path | None = option(None, 'write what was found as JSON, for machines', metavar='FILE')
    notes: bool = option(True, 'show notes', off='leave notes out')


def build_parser(prog: str | None = 'model check') -> argparse.ArgumentParser:
    """Make the argument parser."""
    about = (
        'Look for faults of a rigged model: its numbers, tree, skinning weights, joints, limits, '
        'symmetry, mesh, unit and shape space. An error: the model is refused or gives wrong bodies; a warning: '
        "probably a fault; a note: worth knowing. Lengths are in the model's own unit, angles in degrees."
    )
    epilog = (
        'Exit codes: 0 nothing but notes; 1 it could not be looked at; 2 a bad command line; 3 there are '
        'errors or warnings.'
    )
    return make_parser(Command, prog, about, epilog)


def main(argv: Sequence[str] | None = None, prog: str | None = None) -> int:
    """Run the command; the exit codes are those that the parser's help names."""
    return run_command(_run, build_parser, argv, prog)


def _run(arguments: argparse.Namespace) -> int:
    from smilfit.files import write_text
    from smilfit.rigs.checking import NOTE, SEVERITIES, check_model
    from smilfit.rigs.converting import open_model

    model, _ = open_model(arguments.model)
    data, findings = model.data, check_model(model)
    shown = [f for f in findings if f.severity != NOTE or arguments.notes]
    print(f'{data.name}: {data.n_vertices} vertices, {len(data.faces)} faces, {data.n_joints} joints')
    for finding in shown:
        print(finding.sentence())
    counts = Counter(finding.severity for finding in findings)
    if any('smilfit model clean' in finding.advice for finding in shown):
        print(f'options of `smilfit model clean` that are named above go with: {clean_step(arguments.model)}')
    print(', '.join(f'{counts[s]} {s}{"" if counts[s] == 1 else "s"}' for s in SEVERITIES))
    if arguments.json is not None:
        record = {
            'model': str(arguments.model),
            'name': data.name,
            'hash': data.content_hash(),
            'counts': {severity: counts[severity] for severity in SEVERITIES},
            'findings': [finding.record() for finding in findings],
        }
        write_text(arguments.json, json.dumps(record, indent=1) + '\n')
    return EXIT_DOUBTS if any(f.severity != NOTE for f in findings) else 0


if __name__ == '__main__':
    sys.exit(main())
