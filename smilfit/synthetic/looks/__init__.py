"""How made images look: coats, walls, lights, things in the way, sensors, and named styles of all of these."""

from smilfit.synthetic.looks.coats import COATS, draw_coat
from smilfit.synthetic.looks.lights import (
    LightRange,
    Lights,
    Occluder,
    Screen,
    Sensor,
    SensorRange,
    draw_lights,
    draw_occluders,
    screen_of,
)
from smilfit.synthetic.looks.photos import NO_PHOTOS, Photos
from smilfit.synthetic.looks.session_look import STYLES, LookStyle, SessionLook, draw_look, find_style
from smilfit.synthetic.looks.walls import WALLS, draw_wall

__all__ = [
    'COATS',
    'NO_PHOTOS',
    'STYLES',
    'WALLS',
    'LightRange',
    'Lights',
    'LookStyle',
    'Occluder',
    'Photos',
    'Screen',
    'Sensor',
    'SensorRange',
    'SessionLook',
    'draw_coat',
    'draw_lights',
    'draw_look',
    'draw_occluders',
    'draw_wall',
    'find_style',
    'screen_of',
]
