"""Procedural animals and rendered sessions, of which the truth is known exactly."""

from smilfit.synthetic.animals import shipped_bodies, write_shipped_models
from smilfit.synthetic.camera_rigs import make_rig
from smilfit.synthetic.insect import make_insect
from smilfit.synthetic.made_labels import EXACT_LABELS, LabelOptions
from smilfit.synthetic.motion import draw_betas, random_motion
from smilfit.synthetic.quadruped import make_quadruped
from smilfit.synthetic.quadruped_family import make_quadruped_family
from smilfit.synthetic.rendered_session import RenderedSession
from smilfit.synthetic.session_set import SessionSet, SynthesisOptions
from smilfit.synthetic.sessions import (
    ImageOptions,
    SessionOptions,
    add_shape_betas,
    annotator_name,
    write_joint_lookup,
    write_session,
    write_sessions,
)

__all__ = [
    'EXACT_LABELS',
    'ImageOptions',
    'LabelOptions',
    'RenderedSession',
    'SessionOptions',
    'SessionSet',
    'SynthesisOptions',
    'add_shape_betas',
    'annotator_name',
    'draw_betas',
    'make_insect',
    'make_quadruped',
    'make_quadruped_family',
    'make_rig',
    'random_motion',
    'shipped_bodies',
    'write_joint_lookup',
    'write_session',
    'write_sessions',
    'write_shipped_models',
]
