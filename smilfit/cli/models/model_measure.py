"""`model measure`: named measurements of models, registrations and fits as a table, and their allometry."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from smilfit.apis.model_options import MeasuringOptions
from smilfit.cli.command import command, exit_codes
from smilfit.cli.parser import part_of
from smilfit.options.fields import option

if TYPE_CHECKING:
    from smilfit.scans.measurements.allometry import Allometry
    from smilfit.scans.measurements.specimens import Specimen

# The table has all; so many are printed of each specimen.
_SHOWN = 24
# Names that are listed in a sentence.
_LISTED = 5


@dataclass(frozen=True, kw_only=True)
class Arguments(MeasuringOptions):
    """A command line of `model measure`."""

    paths: Sequence[str] = option(
        help='a body model (.smil.json, .pkl, or quadruped or insect); registration.npz, its folder or a folder of '
        'such folders; a fit (fit.npz), its folder or a folder of several',
        positional=True,
        metavar='MODEL|REGISTRATION|FIT',
    )
    out: Path = option(help='the table', metavar='OUT.csv')
    measurements: Path | None = option(
        None, 'measurements of your own, .toml or .json', kind='existing_file', metavar='FILE'
    )
    allometry: str | None = option(
        None,
        'also fit the log-log slope of every measurement on this one, such as body_length, over the specimens (at '
        'least 3): OUT_allometry.csv and .png',
        metavar='SIZE',
    )
    shapes: Sequence[tuple[float, ...]] = option(
        (),
        'of models: also this shape; may be given several times (write --betas=-1,0 for a first minus)',
        flag='--betas',
        many='append',
        kind='betas',
        metavar='B,B,...',
    )


@command(
    Arguments,
    'model measure',
    (
        'Measure models, registered scans and fits: distances, limbs, geodesics, girths, angles '
        '(degrees), surface and volume, in mm where the unit is known, else in model units. The table has the '
        'columns specimen, measurement, value, unit, sd, low, high, pose_spread_percent, doubt. The standard '
        "deviation sd and the 95 % interval low to high come from a fit's covariance; the spread over poses is the "
        "standard deviation over a fit's frames in % of the mean."
    ),
    'Without --measurements: body length, limbs, bones, the girth of the trunk, surface and volume. '
    f'docs/measurements.md tells how to write your own. {exit_codes("measured")}',
)
def main(options: Arguments) -> None:
    """Run the command."""
    # Imported late: --help should not wait for torch.
    from smilfit.scans.measure import measure

    shapes = {f'betas {",".join(f"{b:g}" for b in one)}': one for one in options.shapes}
    done = measure(
        options.paths,
        options.out,
        measurements=options.measurements,
        allometry=options.allometry,
        options=part_of(options, MeasuringOptions, betas=shapes),
        told=show_specimen,
    )
    if options.allometry and not options.keep_doubted:
        _print_doubted(done.specimens)
    shown = [one for one in done.allometry if not one.measurement.startswith('bone_')]
    shown = shown if len(done.allometry) > _SHOWN else done.allometry
    for one in shown:
        print(_slope_line(one))
    if len(shown) < len(done.allometry):
        print(f'  and {len(done.allometry) - len(shown)} bones in the table')
    for why in dict.fromkeys(done.left_out.values()):
        names = [name for name, reason in done.left_out.items() if reason == why]
        print(f'  no slope of {_listed(names)}: {why}')
    for file in done.files:
        print(f'written: {file}')


def _print_doubted(specimens: Sequence['Specimen']) -> None:
    """Print which specimens do not go into slopes, or not with all numbers."""
    wholly = [s.name for s in specimens if s.doubts]
    partly = [s.name for s in specimens if not s.doubts and s.guessed is not None and s.guessed.any()]
    for names, what in ((wholly, 'are in doubt'), (partly, 'lack parts: what rests on them is in doubt')):
        if names:
            print(
                f'left out of the slopes (--keep-doubted takes them): {len(names)} specimens {what}: '
                f'{_listed(names)}'
            )


def _listed(names: Sequence[str]) -> str:
    more = len(names) - _LISTED
    return ', '.join(names[:_LISTED]) + (f' and {more} more' if more > 0 else '')


def show_specimen(specimen: 'Specimen') -> None:
    """Print the measurements of a specimen; bones beyond a screenful are in the table only."""
    print(f'{specimen.name}: {len(specimen.measurements)} measurements')
    for doubt in specimen.doubts:
        print(f'  DOUBT: {doubt if doubt.endswith((".", "?")) else doubt + "."}')
    shown = [i for i, m in enumerate(specimen.measurements) if not m.name.startswith('bone_')]
    shown = (shown if len(specimen.measurements) > _SHOWN else list(range(len(specimen.measurements))))[
        :_SHOWN
    ]
    width = max((len(specimen.measurements[i].name) for i in shown), default=0)
    for i in shown:
        name, value = specimen.measurements[i].name, specimen.values[i]
        if name in specimen.missing:
            print(f'  {name:<{width}}  not measured: {specimen.missing[name]}')
            continue
        sure = (
            f' ({specimen.low[i]:.4g} to {specimen.high[i]:.4g})' if specimen.sd[i] == specimen.sd[i] else ''
        )
        spread = specimen.pose_spread_percent[i]
        moves = f', over poses +-{spread:.2g} %' if spread == spread else ''
        print(f'  {name:<{width}}  {value:.4g} {specimen.units[i]}{sure}{moves}')
    if len(shown) < len(specimen.measurements):
        print(f'  and {len(specimen.measurements) - len(shown)} more in the table')
    for remark in specimen.remarks:
        print(f'  note: {remark}.')


def _slope_line(one: 'Allometry') -> str:
    sma, ols = one.sma, one.ols
    return (
        f'  {one.measurement} on {one.size}: slope {sma.value:.3f} ({sma.low:.3f} to {sma.high:.3f}) SMA, '
        f'{ols.value:.3f} ({ols.low:.3f} to {ols.high:.3f}) OLS, isometry {one.isometry:g}: {one.word}; n = {one.n}'
    )
