"""`model shape-space`: a model's shape space from registered specimens."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from smilfit.apis.model_options import ShapeSpaceOptions
from smilfit.cli.command import command, exit_codes
from smilfit.cli.parser import keywords_of
from smilfit.options.fields import option


@dataclass(frozen=True, kw_only=True)
class Arguments(ShapeSpaceOptions):
    """A command line of `model shape-space`."""

    paths: Sequence[str] = option(
        help='registration.npz, its folder, or a folder of such folders; at least three specimens of one model',
        positional=True,
        metavar='REGISTRATIONS',
    )
    out: Path = option(help='the model', positional=True, metavar='OUT.smil.json')
    size: str = option(
        'remove',
        'remove: specimens are brought to one centroid size first, and sizes stand in the table; keep: size is part '
        'of the space',
        choices=('remove', 'keep'),
    )


@command(
    Arguments,
    'model shape-space',
    (
        'Make the shape space of registered specimens (principal components), and write it as a body '
        'model whose betas are in standard deviations, with a page of its curves (compactness, generalisation, '
        'specificity, each with a 95 % interval) and pictures, and a table of sizes (mm where known) and betas.'
    ),
    f'Written: OUT.smil.json, OUT_shape_space.html and .png, OUT_scores.csv. {exit_codes("made")}',
)
def main(options: Arguments) -> None:
    """Run the command."""
    # Imported late: --help should not wait for torch.
    from smilfit.scans.make_shape_space import make_shape_space

    keywords = keywords_of(options, ShapeSpaceOptions, keep_size=options.size == 'keep')
    done = make_shape_space(options.paths, options.out, **keywords)
    space = done.space
    print(f'{space.data.name}: {len(space.scores)} specimens, {space.form}, {space.data.n_betas} betas')
    for block in space.blocks:
        curves = done.curves[block.name]
        at = min(block.count, len(curves.generalisation.value)) - 1
        error, drawn = curves.generalisation, curves.specificity
        print(
            f'  {block.name}: {block.count} components, {100 * block.kept:.1f} % of the variance; one left out '
            f'{error.value[at]:.3g} {done.unit} ({error.low[at]:.3g} to {error.high[at]:.3g}), '
            f'{error.value[at] / curves.spread:.2f} of the spread of {curves.spread:.3g}; drawn to the nearest '
            f'{drawn.value[at]:.3g} {done.unit}'
        )
    for remark in done.remarks:
        print(f'  note: {remark}')
    for file in done.files:
        print(f'written: {file}')
