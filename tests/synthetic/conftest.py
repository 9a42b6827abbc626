"""Animals and one small written session, made once."""

import numpy as np
import pytest

from smilfit.body_models import SMIL
from smilfit.synthetic import make_insect, make_quadruped, make_rig, random_motion, write_session

MAKERS = {'insect': make_insect, 'quadruped': make_quadruped}


@pytest.fixture(scope='session', params=list(MAKERS))
def animal(request):
    return MAKERS[request.param]()


@pytest.fixture(scope='session')
def quadruped():
    return SMIL(make_quadruped())


@pytest.fixture(scope='session')
def recording(quadruped, tmp_path_factory):
    """A session of 14 frames with two cameras: folder, true parameters, rig."""
    rng = np.random.default_rng(3)
    params = random_motion(quadruped, 14, rng, arena_radius=40.0, scale=90.0)
    rig = make_rig(2, 110.0, rng, size=(128, 96))
    folder = tmp_path_factory.mktemp('lab') / 'walk'
    return write_session(folder, quadruped, params, rig, rng=rng), params, rig
