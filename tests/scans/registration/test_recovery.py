"""A made scan, shuffled and turned: the vertices that are found are the right ones."""

import json

import numpy as np
import pytest
import torch

from smilfit.body_models import SMIL
from smilfit.scans.registration import MeshRegistrant, clean_scan, template_body
from smilfit.scans.registration.deformation import RestDeformation
from smilfit.scans.registration.mesh_registrant import limb_objections, pose_cautions, surface_objections
from smilfit.synthetic import make_insect
from tests.scans.registration.specimens import Draw, Shown, correspondence, draw_specimen

# The test must be cheap; the default has three starts.
CHEAP = {'n_starts': 1, 'per_part': 12, 'scan_points': 1000}


@pytest.fixture(scope='module')
def registered():
    registrant = MeshRegistrant(SMIL(make_insect()), **CHEAP)
    specimen = draw_specimen(registrant, 1, Draw(shown=Shown.CUT))
    return registrant, specimen, registrant(specimen.scan)


def test_vertices_are_the_right_ones_with_three_legs_cut(registered):
    registrant, specimen, result = registered
    score = correspondence(registrant.surface, specimen, result.vertices)
    assert score['right_vertex_%'] > 75
    assert score['median_off_%'] < 0.2
    assert score['right_leg_%'] > 99.5
    # Legs that nobody sees are no doubt.
    assert result.report['doubts'] == []


def test_missing_legs_are_named_and_left_at_rest(registered):
    registrant, specimen, result = registered
    data = registrant.surface.data
    gone = {data.joint_names[j] for j in registrant.surface.part[~specimen.shown]}
    assert {n for n in gone if n.startswith('tarsus')} <= set(result.absent)
    assert set(result.absent) <= gone
    j = data.joint_names.index(next(n for n in result.absent if n.startswith('tarsus')))
    assert float(result.params.body_pose[0, j - 1].abs().max()) < 1e-6


def test_files_say_what_is_needed_to_measure(registered, tmp_path):
    registrant, specimen, result = registered
    path = result.save(tmp_path, registrant.surface, specimen.scan)
    stored = np.load(path)
    body = registrant.body
    own = body(result.params, need={'vertices'}).vertices[0].numpy()
    # Without vertex offsets the parameters alone give the surface.
    assert np.abs(own - stored['vertices']).max() < 0.01 * specimen.scan.extent
    assert stored['unposed'].shape == (body.data.n_vertices, 3)
    assert stored['log_joint_scales'].shape == stored['joint_offsets'].shape == (1, body.n_joints, 3)
    assert str(stored['model_hash']) == body.data.content_hash()
    record = json.loads((tmp_path / 'registration.json').read_text())
    assert record['scale'] == pytest.approx(float(stored['scale'][0]))
    assert record['scan_extent'] == pytest.approx(specimen.scan.extent)


def test_doubts_are_said_of_what_may_be_on_wrong_limbs():
    near, far = {'percentile_95_share': 0.02}, {'percentile_95_share': 0.1}
    assert surface_objections(near, near) == limb_objections(1, 0, None) == limb_objections(0, 1, 1.5) == []
    assert pose_cautions(0.3, 0.35) == []
    assert '10.0 % of the extent' in surface_objections(near, far)[0]
    assert '1 limbs of the scan lie on none' in limb_objections(2, 1, None)[0]
    assert '1.10 times the energy' in limb_objections(0, 0, 1.1)[0]
    assert 'turned by 0.50 rad' in pose_cautions(0.5, 0.35)[0]


def test_stiff_vertices_keep_a_turned_surface():
    data = make_insect()
    stiff = RestDeformation(data.v_template, data.faces, 0.05)
    rotation = np.linalg.qr(np.random.default_rng(0).normal(size=(3, 3)))[0]
    rotation *= np.sign(np.linalg.det(rotation))
    turned = data.v_template @ rotation.T
    assert np.allclose(stiff.turns(turned), rotation, atol=1e-6)
    # The pull of a rigid motion is what the laplacian gives of it: nothing is strained.
    assert np.allclose(stiff.laplacian @ turned, stiff.pull(stiff.turns(turned)), atol=1e-6)


def test_a_template_without_a_skeleton_is_placed():
    data = make_insect()
    body = template_body('insect', data.v_template, data.faces)
    stage = {'sigma': 0.05, 'n_iter': 8}
    registrant = MeshRegistrant(body, [stage], [], n_starts=1, per_part=200, scan_points=300)
    own = registrant.surface
    step = torch.zeros(own.n_unknowns, dtype=torch.float64)
    step[own.slices['turns']] = torch.tensor([0.4, -1.0, 0.7])
    step[own.slices['log_scale']] = 0.5
    state = own.moved(own.rest(), step)
    vertices = own.vertices(state).numpy()
    result = registrant(clean_scan('turned', vertices, data.faces))
    assert np.abs(result.vertices - vertices).max() < 0.01 * np.ptp(vertices, axis=0).max()
