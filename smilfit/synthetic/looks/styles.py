"""Named styles: what looks are drawn from. Two of them share no coat and no wall, so that one can test the other."""

from dataclasses import dataclass, field

from smilfit.registry import UnknownNameError, did_you_mean
from smilfit.synthetic.looks.coats import COATS
from smilfit.synthetic.looks.lights import LightRange
from smilfit.synthetic.looks.sensor import SensorRange
from smilfit.synthetic.looks.walls import WALLS


@dataclass(frozen=True)
class LookStyle:
    """What the looks of sessions are drawn from: kinds of coats and walls, lights, sensors.

    Where there are photographs of the place, `photo_share` of the walls are these.
    """

    coats: tuple[str, ...]
    walls: tuple[str, ...]
    lights: LightRange = field(default_factory=LightRange)
    sensor: SensorRange = field(default_factory=SensorRange)
    most_occluders: int = 3
    photo_share: float = 0.8

    def __post_init__(self) -> None:
        for what, chosen, known in (('coats', self.coats, COATS), ('walls', self.walls, WALLS)):
            if not chosen:
                raise ValueError(f'LookStyle: {what} must name a kind; got none.')
            for kind in chosen:
                if kind not in known:
                    raise UnknownNameError(
                        f'LookStyle: {what}: no kind {kind!r}. {did_you_mean(kind, known)}'
                    )


STYLES: dict[str, LookStyle] = {
    # For training: a wide range.
    'varied': LookStyle(
        coats=('plain', 'gradient', 'waves', 'spots', 'stripes', 'photo'),
        walls=('stains', 'gradient', 'clutter', 'planks'),
    ),
    # For tests: no coat, wall or light of the other.
    'other': LookStyle(
        coats=('checks', 'rings', 'speckles'),
        walls=('checks', 'scribbles', 'haze'),
        lights=LightRange(most=3, ambient=(0.1, 0.25), colour_sd=0.3, gloss=0.5),
        sensor=SensorRange(gamma=(0.55, 0.7), grey=0.1, jpeg=(20, 40)),
    ),
}


def find_style(style: str | LookStyle) -> LookStyle:
    """Look a style up by name; one that is none but a style is given back.

    Raises:
        KeyError: an unknown name, with the near ones.
    """
    if isinstance(style, LookStyle):
        return style
    if style not in STYLES:
        raise UnknownNameError(f'synthesize: no style {style!r}. {did_you_mean(style, STYLES)}')
    return STYLES[style]
