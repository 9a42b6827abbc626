"""Meshes that are split at seams have the limbs of welded ones, and limbs are never too many to compare."""

import numpy as np
import pytest

from smilfit.geometry.surface_graph import surface_graph
from smilfit.scans.registration import MeshRegistrant, clean_scan, template_body
from smilfit.scans.registration.limbs import MOST_LIMBS, limb_curves, rigid_starts
from smilfit.scans.registration.mesh_registrant import limb_cautions
from smilfit.synthetic import make_insect, make_quadruped


def split_at_seams(vertices: np.ndarray, faces: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return every octant of a mesh vertices of its own, as the charts of an image have them; new ones come last."""
    chart = (vertices[faces].mean(1) > vertices.mean(0)) @ [1, 2, 4]
    more, split = [vertices], faces.copy()
    count = len(vertices)
    for k in np.unique(chart)[1:]:
        used = np.unique(faces[chart == k])
        shared = used[np.isin(used, faces[chart < k])]
        number = np.arange(len(vertices))
        number[shared] = count + np.arange(len(shared))
        split[chart == k] = number[faces[chart == k]]
        more.append(vertices[shared])
        count += len(shared)
    return np.concatenate(more), split


@pytest.mark.parametrize('make', [make_insect, make_quadruped])
def test_limbs_are_those_of_the_welded_mesh(make):
    data = make()
    vertices, faces = split_at_seams(data.v_template, data.faces)
    assert len(vertices) > 1.05 * len(data.v_template)
    welded = limb_curves(data.v_template, surface_graph(data.v_template, data.faces))
    split = limb_curves(vertices, surface_graph(vertices, faces))
    assert len(split.points) == len(welded.points)
    assert np.allclose([x.length for x in split.limbs.limbs], [x.length for x in welded.limbs.limbs])
    tips, same = (
        [v[x.tip] for x in c.limbs.limbs] for c, v in ((split, vertices), (welded, data.v_template))
    )
    assert np.allclose(tips, same)
    # Numbers are those of the mesh as it was given.
    assert max(x.vertices.max() for x in split.limbs.limbs) >= len(data.v_template)


def test_scans_are_welded_within_what_files_round():
    data = make_insect()
    vertices, faces = split_at_seams(data.v_template, data.faces)
    rough = vertices + 1e-8 * np.random.default_rng(0).normal(size=vertices.shape)
    scan = clean_scan('split', rough, faces)
    assert len(scan.vertices) == len(data.v_template)
    assert scan.report['vertices_welded'] == len(vertices) - len(data.v_template)
    assert scan.report['loose_pieces_left_out'] == 0


def test_a_split_template_is_told_and_finds_the_pose(caplog):
    data = make_insect()
    vertices, faces = split_at_seams(data.v_template, data.faces)
    caplog.set_level('INFO', 'smilfit')
    stage = {'sigma': 0.05, 'n_iter': 8}
    registrant = MeshRegistrant(
        template_body('split', vertices, faces), [stage], [], n_starts=1, per_part=200, scan_points=300
    )
    count = len(vertices) - len(data.v_template)
    assert f'{count} vertices are one with another on their place' in caplog.text
    rotation = np.linalg.qr(np.random.default_rng(2).normal(size=(3, 3)))[0]
    rotation *= np.sign(np.linalg.det(rotation))
    turned = 1.6 * vertices @ rotation.T + [1.0, 2.0, 3.0]
    result = registrant(clean_scan('turned', turned, faces))
    assert np.abs(result.vertices - turned).max() < 0.01 * np.ptp(turned, axis=0).max()
    assert result.report['vertices_at_seams'] == count


def test_of_very_many_limbs_the_longest_are_compared():
    rng = np.random.default_rng(0)
    spikes = rng.normal(size=(60, 3))
    spikes *= (np.linspace(1, 2, 60) / np.linalg.norm(spikes, axis=1))[:, None]
    base = 0.05 * rng.normal(size=(60, 2, 3))
    vertices = np.concatenate([np.zeros((1, 3)), spikes, base.reshape(-1, 3)])
    own = np.arange(60)
    faces = np.concatenate(
        [
            np.stack([1 + own, 61 + 2 * own, 62 + 2 * own], 1),
            np.stack([np.zeros(60, int), 61 + 2 * own, 62 + 2 * own], 1),
        ]
    )
    curves = limb_curves(vertices, surface_graph(vertices, faces))
    assert len(curves.points) == MOST_LIMBS
    assert curves.n_left_out > 10
    assert len(rigid_starts(curves, curves, 4.0, 1)) == 1
    (sentence,) = limb_cautions(0, curves.n_left_out, MOST_LIMBS)
    assert f'{MOST_LIMBS + curves.n_left_out} limbs, of which the {MOST_LIMBS} longest' in sentence
    assert limb_cautions(0, 0, MOST_LIMBS) == []


@pytest.mark.parametrize('make', [make_insect, make_quadruped])
def test_seams_that_noise_has_torn_open_are_crossed(make):
    data = make()
    vertices, faces = split_at_seams(data.v_template, data.faces)
    extent = np.ptp(vertices, axis=0).max()
    vertices = vertices + 5e-4 * extent * np.random.default_rng(0).normal(size=vertices.shape)
    torn = limb_curves(vertices, surface_graph(vertices, faces))
    whole = limb_curves(data.v_template, surface_graph(data.v_template, data.faces))
    assert len(torn.points) == len(whole.points)
    lengths, same = ([x.length for x in c.limbs.limbs] for c in (torn, whole))
    assert np.allclose(lengths, same, atol=0.03 * extent)
