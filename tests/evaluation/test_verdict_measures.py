"""What a verdict is made of: each number on a case whose truth is known."""

import json
import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from smilfit.body_models import SMIL
from smilfit.body_models.data import Landmark
from smilfit.evaluation.verdict import (
    DOUBTFUL,
    GOOD,
    NOT_BELIEVABLE,
    NOT_FITTED,
    Measure,
    Measured,
    Verdict,
    judge,
    load_thresholds,
)
from smilfit.evaluation.verdict.body_measures import (
    betas_sd,
    bone_asymmetry,
    bone_ratios,
    camera_distance,
    crossing_triangles,
    inverted_share,
    joint_moves,
    landmark_excess,
    landmark_offsets_sd,
    lengths,
    limits_share,
    new_crossings,
    posed,
    size_ratio,
    torn_share,
)
from smilfit.evaluation.verdict.image_measures import mask_margins, outline_convexity, plain_overlap
from smilfit.evaluation.verdict.label_measures import (
    camera_medians,
    count_keypoints,
    count_places,
    extents_px,
    kept_share,
    left_out_triangulation_px,
    triangulation_px,
)
from smilfit.evaluation.verdict.refits import dealt_out, side_pairs, with_sides_exchanged
from smilfit.files import BadFileError
from smilfit.handlers import MultiviewKeypoint2dMSEInput
from smilfit.registry import UnknownNameError
from smilfit.structures import BodyParams, Keypoints2d
from smilfit.synthetic import make_quadruped
from tests.animals import ring_of_cameras, small_animal


@pytest.fixture(scope='module')
def body() -> SMIL:
    return SMIL(make_quadruped()).double()


@pytest.fixture
def params(body) -> BodyParams:
    """Two bodies, moved, turned, scaled and a little posed; all as the model wants it."""
    plain = body.zero_params(2)
    return plain.replace(
        global_orient=torch.randn_like(plain.global_orient),
        body_pose=0.1 * torch.randn_like(plain.body_pose),
        transl=torch.randn_like(plain.transl),
        scale=torch.tensor([0.3, 80.0]).double(),
    )


def stretched(body, params, joint, factor):
    """Move a joint away along its bone."""
    j = body.joint_names.index(joint)
    bone = body.joints_template[j] - body.joints_template[body.data.parents[j]]
    offsets = params.body_pose.new_zeros(params.batch_size, body.n_joints, 3)
    offsets[:, j] = (factor - 1) * bone
    return params.replace(joint_offsets=offsets), float(bone.norm())


def test_a_bone_of_twice_its_length_is_twice_as_long(body, params):
    long, length = stretched(body, params, 'ankle_L', 2.0)
    ratio = bone_ratios(body, long)
    at = body.joint_names.index('ankle_L') - 1
    assert ratio[:, at].tolist() == pytest.approx([2.0, 2.0])
    others = torch.cat((ratio[:, :at], ratio[:, at + 1 :]), 1)
    assert torch.allclose(others, torch.ones_like(others))
    assert bone_asymmetry(body, long).amax(1).tolist() == pytest.approx([2.0, 2.0])
    moved = joint_moves(body, long).amax(1) * body.rest_size
    assert moved.tolist() == pytest.approx([length, length])
    assert not joint_moves(body, params).any()
    assert bone_asymmetry(body, params).amax() == pytest.approx(1.0)


def test_bones_that_are_all_longer_are_a_larger_body(body, params):
    larger = params.replace(log_joint_scales=torch.full((2, body.n_joints, 3), math.log(1.7)).double())
    joints = body(larger, ('joints',)).joints
    assert torch.allclose(
        lengths(body, joints) / lengths(body, body(params, ('joints',)).joints), torch.tensor(1.7).double()
    )
    assert torch.allclose(bone_ratios(body, larger), torch.ones(2, body.n_joints - 1).double())


def test_sides_are_found_by_the_model_and_by_names(body):
    names = list(body.data.keypoint_sets['sleap'])
    result = {(names[a], names[b]) for a, b in side_pairs(body.data, names)}
    assert len(result) == 6
    assert ('ear_tip_L', 'ear_tip_R') in result
    bare = replace(body.data, joint_symmetry=())
    assert side_pairs(bare, body.joint_names) == side_pairs(body.data, body.joint_names)
    names = (
        'l_1_co_r',
        'l_1_co_l',
        'Haunch_left',
        'Haunch_right',
        'leg_L1_tip',
        'leg_R1_tip',
        'tail',
        'ball',
    )
    assert side_pairs(bare, names) == [(0, 1), (2, 3), (4, 5)]


def test_skin_that_is_moved_turned_and_scaled_is_whole(body, params):
    assert not torn_share(body, params).any()
    assert not inverted_share(body, params).any()


def test_a_flipped_triangle_and_a_torn_one_are_counted(body, params):
    vertices, faces = posed(body, params), body.faces
    corner, a, b = faces[100].tolist()
    rest = torch.as_tensor(body.data.v_template)[faces]
    area = torch.linalg.cross(rest[:, 1] - rest[:, 0], rest[:, 2] - rest[:, 0]).norm(dim=-1)
    # The corner goes to the other side of the edge before it, in the triangle's plane.
    edge = vertices[:, b] - vertices[:, a]
    away = vertices[:, corner] - vertices[:, a]
    foot = edge * (away * edge).sum(-1, keepdim=True) / edge.square().sum(-1, keepdim=True)
    flipped = vertices.clone()
    flipped[:, corner] = vertices[:, a] + 2 * foot - away
    around = (faces == corner).any(1)
    share = inverted_share(body, params, flipped)
    assert (share >= area[100] / area.sum() - 1e-12).all()
    assert (share <= area[around].sum() / area.sum() + 1e-12).all()
    torn = vertices.clone()
    torn[:, corner] += 20 * edge
    expected = (area[around].sum() / area.sum()).expand(2)
    assert torch.allclose(torn_share(body, params, torn), expected)


def test_triangles_that_cross_are_found_and_neighbours_are_not():
    flat = np.array([[0.0, 0, 0], [1, 0, 0], [0, 1, 0]])
    through = np.array([[0.2, 0.2, -1.0], [0.2, 0.2, 1], [0.9, 0.9, 1]])
    far = flat + [5.0, 0, 0]
    vertices = np.concatenate((flat, through, far))
    faces = np.arange(9).reshape(3, 3)
    assert crossing_triangles(vertices, faces).tolist() == [True, True, False]
    assert not crossing_triangles(flat + [0, 0, 1.0], faces[:1]).any()
    fan = np.array([[0, 1, 2], [0, 2, 3]])
    assert not crossing_triangles(np.concatenate((flat, [[-1.0, 1, 0]])), fan).any()
    apart = np.concatenate((flat, through + [9.0, 9, 9], far))
    rest = np.array([0.5, 0.5, 0.5])
    area = np.linalg.norm(np.cross(apart[1::3] - apart[::3], apart[2::3] - apart[::3]), axis=-1)
    assert new_crossings(vertices[None], apart, faces).tolist() == pytest.approx(
        [area[:2].sum() / area.sum()]
    )
    assert new_crossings(vertices[None], vertices, faces).tolist() == [0.0]
    assert rest.shape == (3,)


def test_triangles_on_both_sides_of_a_seam_do_not_cross():
    """A strip whose triangles share no vertex, as seams of an image leave it, and the same that is one."""
    x, y = np.meshgrid(np.arange(6.0), np.arange(2.0), indexing='ij')
    whole = np.stack((x.ravel(), y.ravel(), 0 * x.ravel()), 1)
    quads = np.array([[2 * i, 2 * i + 2, 2 * i + 3, 2 * i + 1] for i in range(5)])
    faces = np.concatenate((quads[:, [0, 1, 2]], quads[:, [0, 2, 3]]))
    torn = whole[faces].reshape(-1, 3)
    bent = torn.copy()
    bent[:, 2] = 0.3 * bent[:, 0] ** 2
    # Skinning rounds each vertex by itself.
    chance = np.random.default_rng(0)
    bent = bent @ np.linalg.qr(chance.normal(size=(3, 3)))[0] + 1e-7 * chance.normal(size=bent.shape)
    apart = np.arange(len(torn)).reshape(-1, 3)
    assert crossing_triangles(bent, apart).any()
    assert new_crossings(bent[None], torn, apart).tolist() == [0.0]
    # A triangle through the strip crosses it, seams or not.
    through = np.array([[0.5, 0.4, -1.0], [0.6, 0.4, 1.0], [0.5, 0.6, 1.0]])
    posed, rest = (np.concatenate((strip, through + move)) for strip, move in ((torn, 0.0), (torn, 9.0)))
    assert new_crossings(posed[None], rest, np.concatenate((apart, [[30, 31, 32]])))[0] > 0


def test_shape_is_measured_along_the_main_axes_of_its_space():
    small = SMIL(small_animal()).double()
    root = np.linalg.cholesky(small.data.shape_cov)
    z = torch.tensor([[3.0, 0.0, -1.0]]).double()
    betas = torch.as_tensor(small.data.shape_mean) + z @ torch.as_tensor(root).T
    assert torch.allclose(betas_sd(small, small.zero_params(1).replace(betas=betas)), z.abs(), atol=1e-3)


def test_joints_beyond_their_limits_are_counted(body, params):
    limits = torch.as_tensor(body.data.joint_limits[1:])
    pose = limits.mean(-1).expand(2, -1, -1).clone()
    assert not limits_share(body, params.replace(body_pose=pose)).any()
    pose[1, :2, 0] = limits[:2, 0, 1] + math.radians(20)
    share = limits_share(body, params.replace(body_pose=pose))
    assert share.tolist() == pytest.approx([0.0, 2 / (body.n_joints - 1)])
    origins = ('file', 'default', *['file'] * (body.n_joints - 2))
    guessed = SMIL(replace(body.data, joint_limits_from=origins)).double()
    share = limits_share(guessed, params.replace(body_pose=pose))
    assert share.tolist() == pytest.approx([0.0, 1 / (body.n_joints - 1)])
    free = SMIL(replace(body.data, joint_limits=None)).double()
    pose = torch.zeros_like(pose)
    pose[1, :3, 2] = math.radians(120)
    assert limits_share(free, params.replace(body_pose=pose)).tolist() == pytest.approx([0, 3 / len(limits)])


def test_landmarks_are_measured_by_what_is_known_of_them(body, params):
    marks = {'haunch': Landmark('hip_L', 'hip_L', sd=0.02), 'known': Landmark('hip_L', 'hip_L')}
    marked = body.with_landmarks({**marks, 'trunk': Landmark('spine_1', 'spine_1', sd=0.1)})
    offsets = torch.tensor([[[0.0, -0.05, 0.01], [0.1, 0.0, 0.0]]]).double().expand(2, 2, 3)
    result = landmark_offsets_sd(marked, params.replace(landmark_offsets=offsets))
    assert torch.allclose(result, torch.tensor([2.5, 1.0]).double())
    assert landmark_offsets_sd(body, params).shape == (2, 0)
    # What the lookup expects, three times the variance, counts nothing.
    beyond = landmark_excess(marked, params.replace(landmark_offsets=offsets)) * body.rest_size
    assert torch.allclose(beyond, torch.tensor([(0.05**2 + 0.01**2 - 3 * 0.02**2) ** 0.5, 0.0]).double())


def test_size_is_compared_where_both_units_are_known(body, params):
    in_metres = SMIL(replace(body.data, unit='m')).double()
    some = params.replace(scale=torch.tensor([900.0, 1200.0]).double())
    assert size_ratio(in_metres, some, 'mm') == pytest.approx(1 / 0.9)
    assert size_ratio(in_metres, some, 'm') == pytest.approx(900.0)
    assert size_ratio(in_metres, some, None) is None
    assert size_ratio(body, some, 'mm') is None


def test_distance_is_in_body_lengths(body, params):
    centres = params.transl[0] + torch.tensor([[0.0, 0, 5 * 0.3 * body.rest_size]]).double()
    assert camera_distance(body, params[0], centres).item() == pytest.approx(5.0)


@pytest.fixture
def seen() -> tuple[Keypoints2d, torch.Tensor]:
    """Five points in three frames, seen by four cameras without noise, and the points."""
    rig = ring_of_cameras(4)
    points = torch.randn(3, 5, 3).double()
    xy = rig.project(points)[0]
    names = ('nose', 'ear_L', 'ear_R', 'paw_L', 'paw_R')
    return Keypoints2d(xy, torch.ones_like(xy[..., 0]), names, rig), points


def test_exact_labels_agree_and_a_false_camera_does_not(seen):
    labels, _ = seen
    assert camera_medians(triangulation_px(labels)).amax() < 1e-5
    assert camera_medians(left_out_triangulation_px(labels)).amax() < 1e-5
    t = labels.rig.t.clone()
    t[2] = t[2] + torch.tensor([1.0, 0, 0])
    false = replace(labels, cameras=replace(labels.rig, t=t))
    medians = camera_medians(left_out_triangulation_px(false))
    assert int(medians.argmax()) == 2
    # A unit at a distance of about 12, seen through 500 px.
    assert float(medians[2]) == pytest.approx(500 / 12, rel=0.4)


def test_evidence_counts_places_not_labels(seen):
    labels, _ = seen
    assert count_places(labels).tolist() == [5, 5, 5]
    one = replace(labels, xy=labels.xy[:, :, :1].expand_as(labels.xy).contiguous())
    assert count_places(one).tolist() == [1, 1, 1]
    assert float(extents_px(one).amax()) == 0.0
    confidence = labels.confidence.clone()
    confidence[:, 1:, 2:] = 0
    confidence[0, 0] = 0
    few = replace(labels, confidence=confidence)
    assert count_keypoints(few).tolist() == [2, 5, 5]
    assert kept_share(few).tolist() == pytest.approx([2 / 3, 2 / 5, 2 / 5, 2 / 5])
    box = labels.xy[1, 0].amax(0) - labels.xy[1, 0].amin(0)
    assert float(extents_px(few, pooled=False)[1, 0]) == pytest.approx(float(box.norm()))


def test_maps_are_dealt_out_and_sides_exchanged(seen, body):
    labels, _ = seen
    given = MultiviewKeypoint2dMSEInput(labels)
    (dealt,) = dealt_out([given], np.random.default_rng(0))
    same = (dealt.keypoints.xy == labels.xy).all(-1).all(1).all(0)
    assert not same.any()
    assert torch.equal(dealt.keypoints.xy.sum(2).round(decimals=6), labels.xy.sum(2).round(decimals=6))
    (exchanged,) = with_sides_exchanged([given], body.data)
    assert torch.equal(exchanged.keypoints.xy, labels.xy[:, :, [0, 2, 1, 4, 3]])
    (back,) = with_sides_exchanged([exchanged], body.data)
    assert torch.equal(back.keypoints.xy, labels.xy)
    assert with_sides_exchanged([MultiviewKeypoint2dMSEInput(labels.select(['nose']))], body.data) is None


def test_a_mask_that_others_cover_as_well_is_no_evidence():
    y, x = np.mgrid[:40, :40]
    disc, bar = (x - 20) ** 2 + (y - 20) ** 2 < 150, (abs(x - 10) < 4) & (abs(y - 20) < 15)
    own = {0: (disc, disc), 2: (bar, bar)}
    margins = mask_margins(own, 3)
    assert (margins[[0, 2]] > 0.15).all()
    assert np.isnan(margins[1])
    # Each lies on the other's mask: the other one's silhouette would do better.
    assert (mask_margins({0: (bar, disc), 1: (disc, bar)}, 2) < 0).all()
    assert np.isnan(mask_margins({0: (disc, disc)}, 1)).all()


def test_a_plain_mask_alone_is_no_evidence_of_an_animal():
    y, x = np.mgrid[:80, :80]
    rock = (x - 40) ** 2 + 2 * (y - 40) ** 2 < 900
    legs = (abs(y - 30) < 8) & (abs(x - 40) < 30) | (abs(abs(x - 40) - 25) < 4) & (y > 30) & (y < 70)
    assert plain_overlap(rock) > 0.95
    assert plain_overlap(legs) < 0.75
    assert plain_overlap(y == 3) == 1.0
    assert outline_convexity(rock) > 0.97
    assert outline_convexity(legs) < 0.85
    assert outline_convexity(y == 3) == 1.0
    # All the same, the fit to a rock covers it nearly whole.
    curled = (x - 40) ** 2 + 2 * (y - 40) ** 2 < 870
    margins = mask_margins({0: (curled, rock), 1: (legs, legs)}, 2, alone=(0, 1))
    assert margins[0] < 0.02 < 0.2 < margins[1]
    # Where keypoints say what it is, a round animal is one.
    assert mask_margins({0: (curled, rock), 1: (legs, legs)}, 2)[0] > 0.2


def test_words_follow_from_thresholds_in_either_direction():
    for value, word in ((1.0, GOOD), (2.0, DOUBTFUL), (3.9, DOUBTFUL), (4.0, NOT_BELIEVABLE)):
        assert Measure('m', value, 2.0, 4.0, '', '').word == word
    for value, word in ((5.0, GOOD), (4.0, DOUBTFUL), (2.0, NOT_BELIEVABLE), (-math.inf, NOT_BELIEVABLE)):
        assert Measure('m', value, 4.0, 2.0, '', '').word == word
    assert Measure('m', math.nan, 2.0, 4.0, '', '').word == NOT_BELIEVABLE


def test_the_weightiest_reasons_come_first_and_frames_follow_their_session():
    thresholds = load_thresholds()
    # Of the last frame nothing is known: it counts neither way.
    frames = {'frame_error': [0.0, 0.06, math.nan, math.nan], 'keypoints': [9.0, 9.0, 2.0, math.nan]}
    verdict = judge({'bone_longest': Measured(1.0, 'hip_L')}, thresholds, frames)
    assert verdict.frame_words == (GOOD, DOUBTFUL, NOT_BELIEVABLE, NOT_FITTED)
    shares = {m.name: m.value for m in verdict.measures}
    assert shares['frames_not_believable'] == pytest.approx(1 / 3)
    assert verdict.word == NOT_BELIEVABLE
    assert '2 different places' in verdict.frame_reasons[2]
    # Two of three frames are not good: that is said once.
    assert len(verdict.reasons) == 1
    assert verdict.reasons[0].startswith('33.3 % of the frames are not believable, such as: 2 different')
    values = {'bone_longest': Measured(9.0, 'hip_L'), 'betas_sd': Measured(6.0, '0'), 'torn': Measured(0.025)}
    verdict = judge(values, thresholds, {'frame_error': [0.0]})
    assert [m.word for m in verdict.measures][:3] == [NOT_BELIEVABLE, NOT_BELIEVABLE, DOUBTFUL]
    assert len(verdict.reasons) == 3
    assert verdict.reasons[0] == 'bone hip_L is 9 times as long as at rest'
    assert verdict.reasons[2] == '2.5 % of the skin is torn (stretched three times and more)'
    assert verdict.frame_words == (NOT_BELIEVABLE,)
    assert Verdict.from_dict(json.loads(json.dumps(verdict.as_dict()))) == verdict
    with pytest.raises(UnknownNameError, match="Did you mean 'torn'"):
        judge({'tron': Measured(1.0)}, thresholds)


def test_thresholds_of_a_user_replace_what_they_name(tmp_path):
    path = tmp_path / 'mine.json'
    head = {'format': 'smilfit-verdict-thresholds', 'version': 1}
    path.write_text(json.dumps({**head, 'measures': {'torn': {'doubtful': 0.3, 'not_believable': 0.6}}}))
    shipped, mine = load_thresholds(), load_thresholds(path)
    assert (mine['torn'].doubtful, mine['torn'].unit) == (0.3, shipped['torn'].unit)
    assert {n for n in shipped if shipped[n] != mine[n]} == {'torn'}
    path.write_text(json.dumps({**head, 'measures': {'bone_longst': {}}}))
    with pytest.raises(UnknownNameError, match="Did you mean 'bone_longest'"):
        load_thresholds(path)
    path.write_text(json.dumps({**head, 'measures': {'torn': {'doubtful': 0.6, 'not_believable': 0.6}}}))
    with pytest.raises(BadFileError, match='must differ'):
        load_thresholds(path)
    path.write_text(json.dumps({'measures': {}}))
    with pytest.raises(BadFileError, match='format must be'):
        load_thresholds(path)
