"""`check`: measure and draw a dataset's ground truth before training."""

from dataclasses import dataclass
from pathlib import Path

from smilfit.cli.command import INCOMPLETE, command, exit_codes
from smilfit.cli.parser import keywords_of
from smilfit.options.fields import option, other_body_model


@dataclass(frozen=True, kw_only=True)
class Arguments:
    """A command line of `check`."""

    data: Path = option(help='the dataset file', positional=True, metavar='DATA.h5')
    out: Path | None = option(
        None, 'folder for report.html, figures.json and an image a session', metavar='DIR'
    )
    body_model: str | None = other_body_model('dataset')
    n_samples: int = option(3, 'samples of a session to draw', flag='--samples', low=1, high=100, metavar='N')


@command(
    Arguments,
    'check',
    (
        'Check the ground truth of a dataset file before training: labels against 3D points and parameters, cameras '
        'against each other, left against right, crops, counts; and draw some samples with what is stored of them.'
    ),
    exit_codes('nothing speaks against it', 'there are warnings', failed='it could not be looked at'),
)
def main(options: Arguments) -> int:
    """Run the command."""
    from smilfit.apis.checking import check_data

    done = check_data(**keywords_of(options))
    for name, session in done.figures.items():
        print(f'{name}: {session.samples} samples. {session.calibration}')
        for camera, figures in session.cameras.items():
            parts = [f'{figures.labels} labels in {figures.views} views']
            if figures.label_to_point_px == figures.label_to_point_px:
                parts.append(f'{figures.label_to_point_px:.1f} px from the 3D points')
            if figures.label_to_params_px == figures.label_to_params_px:
                parts.append(f'{figures.label_to_params_px:.1f} px from the parameters')
            print(f'  {camera}: {", ".join(parts)}')
    for warning in done.warnings:
        print(f'warning: {warning}')
    if done.folder is not None:
        print(f'report: {done.folder / "report.html"}')
    return INCOMPLETE if done.warnings else 0
