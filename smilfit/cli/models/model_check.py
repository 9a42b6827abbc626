"""`smilfit model check`: say in words what is wrong with a rigged model, and where."""

import json
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from smilfit.cli.command import INCOMPLETE, command, exit_codes
from smilfit.cli.models import model_or_rig
from smilfit.cli.next_step import clean_step
from smilfit.options.fields import option


@dataclass(frozen=True, kw_only=True)
class Arguments:
    """A command line of `model check`."""

    model: str = model_or_rig()
    json: Path | None = option(None, 'write what was found as JSON, for machines', metavar='FILE')
    notes: bool = option(True, 'show notes', off='leave notes out')


@command(
    Arguments,
    'model check',
    (
        'Look for faults of a rigged model: its numbers, tree, skinning weights, joints, limits, '
        'symmetry, mesh, unit and shape space. An error: the model is refused or gives wrong bodies; a warning: '
        "probably a fault; a note: worth knowing. Lengths are in the model's own unit, angles in degrees."
    ),
    exit_codes('nothing but notes', 'there are errors or warnings', failed='it could not be looked at'),
)
def main(options: Arguments) -> int:
    """Run the command."""
    from smilfit.files import write_text
    from smilfit.rigs.checking import NOTE, SEVERITIES, check_model
    from smilfit.rigs.converting import open_model

    model, _ = open_model(options.model)
    data, findings = model.data, check_model(model)
    shown = [f for f in findings if f.severity != NOTE or options.notes]
    print(f'{data.name}: {data.n_vertices} vertices, {len(data.faces)} faces, {data.n_joints} joints')
    for finding in shown:
        print(finding.sentence())
    counts = Counter(finding.severity for finding in findings)
    if any('smilfit model clean' in finding.advice for finding in shown):
        print(f'options of `smilfit model clean` that are named above go with: {clean_step(options.model)}')
    print(', '.join(f'{counts[s]} {s}{"" if counts[s] == 1 else "s"}' for s in SEVERITIES))
    if options.json is not None:
        record = {
            'model': str(options.model),
            'name': data.name,
            'hash': data.content_hash(),
            'counts': {severity: counts[severity] for severity in SEVERITIES},
            'findings': [finding.record() for finding in findings],
        }
        write_text(options.json, json.dumps(record, indent=1) + '\n')
    return INCOMPLETE if any(f.severity != NOTE for f in findings) else 0
