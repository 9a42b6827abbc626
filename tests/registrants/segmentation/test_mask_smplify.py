"""Shape that keypoints cannot move comes from masks of a few frames in several views."""

import copy

import cv2
import numpy as np
import pytest
import torch

from smilfit.evaluation import mask_rows, mask_sentences
from smilfit.losses import SilhouetteIoULoss
from smilfit.registrants.segmentation import GrabCutSegmenter, Segmenter, recorded_masks, spread_frames
from smilfit.registry import build_registrant

KEYPOINTS = dict(keypoints2d_mse_weight=1.0)
CONFIG = dict(
    type='MaskSMPLify',
    use_one_betas_per_video=True,
    optimizer=dict(type='LevenbergMarquardt', gnc_schedule=()),
    segmenter=dict(type='GrabCutSegmenter'),
    n_mask_frames=4,
    side_px=96,
    handlers=[
        dict(type='Keypoint2dHandler', handler_key='keypoints2d_mse'),
        dict(type='BetasPriorHandler', handler_key='shape_prior'),
        dict(type='BodyPosePriorHandler', handler_key='pose_reg', prior_loss=dict(type='PoseRegLoss')),
        dict(type='SilhouetteDistanceHandler', handler_key='mask_distance', n_mask_points=100),
        dict(type='SilhouetteHandler'),
    ],
    stages=[
        dict(name='place', n_iter=10, fit_body_pose=False, fit_scale=True, fit_betas=False, **KEYPOINTS),
        dict(name='pose', n_iter=10, fit_scale=True, shape_prior_weight=0.1, pose_reg_weight=0.1, **KEYPOINTS),
    ],
    mask_stages=[
        dict(
            name='far', n_iter=8, fit_scale=True, mask_distance_weight=1.0, shape_prior_weight=1e-3,
            pose_reg_weight=0.1, **KEYPOINTS,
        ),
        dict(
            name='near', n_iter=40, fit_scale=True, silhouette_weight=1e4, shape_prior_weight=1e-3,
            pose_reg_weight=0.1, optimizer=dict(type='Adam', lr=0.03), **KEYPOINTS,
        ),
    ],
    pose_stages=[dict(name='again', n_iter=5, pose_reg_weight=0.1, **KEYPOINTS)],
)  # fmt: skip


MASKS = ('segmenter', 'n_mask_frames', 'side_px', 'mask_stages', 'pose_stages')


def built(body, **changes):
    return build_registrant({**copy.deepcopy(CONFIG), 'body_model': body, **changes})


def vertices_of(recording):
    return recording.body(recording.params, ('vertices',)).vertices


@pytest.fixture(scope='module')
def result(fat_animal, recording, seen):
    return built(fat_animal)([seen], recording=recording)


def test_masks_find_the_shape_that_keypoints_leave_at_the_mean(fat_animal, recording, seen, result):
    config = {k: v for k, v in CONFIG.items() if k not in MASKS}
    alone = build_registrant({**copy.deepcopy(config), 'type': 'SMPLify', 'body_model': fat_animal})([seen])
    truth, matches = float(recording.params.betas[0, 0]), result.params.betas[:, 0]
    assert abs(float(alone.params.betas[0, 0])) < 0.05 * truth
    assert (matches == matches[0]).all()
    assert abs(float(matches[0]) - truth) < 0.15 * truth
    off = [(r.vertices() - vertices_of(recording)).norm(dim=-1).mean() for r in (alone, result)]
    assert off[1] < 0.6 * off[0]


def test_the_report_judges_by_frames_that_took_no_part(recording, result):
    # Masks look for the shape: nobody says that it stays at the mean.
    assert 'unmoved' not in result.report
    notes = result.report['masks']
    assert 'unmoved' not in result.report
    assert len(notes['frames_used']) == 3
    assert len(notes['frames_checked']) == 1
    assert not set(notes['frames_used']) & set(notes['frames_checked'])
    assert notes['masks_used'] == 9
    for camera in recording.cameras.names:
        values = notes['iou']['checked'][camera]
        assert values['masks'] > 0.85
        assert values['masks'] > values['keypoints'] + 0.05
        assert values['masks'] > values['another_frame']
    assert len(mask_rows(result.report)) == 6
    assert 'Shape came from 9 masks of 3 frames (GrabCutSegmenter)' in mask_sentences(result.report)[0]
    assert [entry.get('part') for entry in result.history] == [None, None, 'masks', 'masks', 'poses']
    assert mask_rows({}) == mask_sentences({}) == []


def test_masks_are_cut_out_straight_where_the_body_is(fat_animal, recording):
    """The cut's camera sees the body where the mask is, lens undone."""
    matches = recorded_masks(
        Drawn(recording), recording, fat_animal, recording.params, torch.tensor([0, 4]), range(6), 96
    )
    assert matches.given.cameras.dist is None
    vertices = fat_animal(recording.params[[0, 4]], ('vertices',)).vertices.repeat_interleave(3, 0)
    cameras = matches.given.to(vertices).flat_cameras()
    alpha = recording.render(vertices, fat_animal.faces, cameras).alpha.reshape(matches.given.masks.shape)
    overlap = 1 - SilhouetteIoULoss().views(alpha, (matches.given.masks > 0.5).to(alpha))
    assert (overlap > 0.94).all()


class Drawn(Segmenter):
    """Knows the truth, but not in one camera."""

    def __init__(self, recording, blind=''):
        super().__init__()
        self.recording, self.blind = recording, blind

    def find_mask(self, frame):
        if self.blind in ('all', frame.camera):
            return 'it is dark'
        return self.recording.mask(frame.number, frame.camera)


def test_what_was_refused_is_told_and_counts_for_nothing(fat_animal, recording, seen):
    given = (recording, fat_animal, recording.params, torch.arange(3), range(6), 64)
    matches = recorded_masks(Drawn(recording, 'cam_1'), *given)
    assert matches.refused == {'cam_1': {'it is dark': 3}}
    assert matches.given.view_weight.tolist() == [[1, 0, 1]] * 3
    with pytest.raises(ValueError, match='at least one of 3 frames; all were refused: it is dark'):
        recorded_masks(Drawn(recording, 'all'), *given)


def test_masks_of_files_are_looked_for_in_frames_that_have_them(fat_animal, recording, seen, tmp_path):
    for frame in (1, 3, 4):
        path = tmp_path / 'mouse' / 'cam_1' / f'{frame:06d}.png'
        path.parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(path), recording.mask(frame, 'cam_1').astype(np.uint8) * 255)
    files = dict(type='MaskFiles', folder=str(tmp_path), pattern='{session}/{camera}/{frame:06d}.png')
    quick = dict(
        segmenter=files,
        stages=CONFIG['stages'][:1],
        mask_stages=[CONFIG['mask_stages'][0] | dict(n_iter=1)],
        pose_stages=(),
    )
    fitter = built(fat_animal, **quick)
    result = fitter([seen], recording=recording, session='mouse')
    assert [entry.get('part') for entry in result.history] == [None, 'masks']
    torch.testing.assert_close(result.keypoints3d.xyz, result.joints())
    notes = result.report['masks']
    assert {*notes['frames_used'], *notes['frames_checked']} == {1, 3, 4}
    assert notes['masks_refused']['cam_top'] == {f'there is no file {files["pattern"]}': 3}
    assert notes['iou']['used']['cam_top']['masks'] is None
    assert notes['iou']['used']['cam_1']['masks'] > 0.5
    with pytest.raises(
        ValueError, match='6 are fitted, and MaskFiles may find masks of 0 of them .as .*/rat/'
    ):
        fitter([seen], recording=recording, session='rat')


def test_frames_are_chosen_far_apart():
    points = torch.randn(1, 5, 3).repeat(40, 1, 1)
    points[10:, 2] += 3.0
    points[17, 4] -= 9.0
    chosen = spread_frames(points, 4)
    assert 17 in chosen
    assert bool((chosen < 10).any())
    assert (chosen.diff() > 0).all()
    assert spread_frames(points[:3], 4).tolist() == [0, 1, 2]
    # Where all are alike time spreads them.
    assert spread_frames(points[:1].expand(9, 5, 3), 3).tolist() == [0, 4, 8]


@pytest.mark.parametrize(
    ('changes', 'message'),
    [
        (dict(use_one_betas_per_video=False), 'shape must be one for the clip'),
        (dict(n_mask_frames=1), 'n_mask_frames must be at least 2'),
        (dict(mask_stages=[dict(n_iter=1, **KEYPOINTS)]), 'must weight a handler of masks'),
        (dict(stages=[dict(n_iter=1, fit_cameras=True, **KEYPOINTS)]), 'cameras must not move'),
    ],
)
def test_configs_that_cannot_work_are_refused(fat_animal, changes, message):
    with pytest.raises(ValueError, match=message):
        built(fat_animal, **changes)


def test_a_recording_is_needed(fat_animal, recording, seen):
    fitter = built(fat_animal)
    with pytest.raises(ValueError, match='the recording must be given'):
        fitter([seen])
    assert 'one process' in fitter.why_not_distributed(6, 2)
    blind = type('Blind', (), {'cameras': None, 'frames': recording.frames})()
    with pytest.raises(ValueError, match='must be calibrated'):
        recorded_masks(GrabCutSegmenter(), blind, fat_animal, recording.params, torch.arange(2), range(6))
