"""From sessions to a file: which frames and views, which points, and what is counted."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch

from smilfit.datasets import PreprocessOptions, open_dataset, plan_session, preprocess
from smilfit.structures import BodyParams, Cameras
from tests.datasets.blob_session import NAMES, BlobSession, MaskSession, make_body, make_cameras

SMALL = PreprocessOptions(target_resolution=32)


def test_frames_with_enough_views_then_skip_then_first(body):
    blind = [(f, c, k) for f in (1, 4) for c in (0, 1) for k in range(5)]
    session = BlobSession(n_frames=12, missing=blind)
    plan = plan_session(session, NAMES, replace(SMALL, frame_skip=2, max_frames_per_session=4))
    assert plan.frames.tolist() == [0, 3, 6, 8]
    counts = plan.counts
    assert (counts['frames'], counts['frames_with_too_few_views'], counts['frames_skipped']) == (12, 2, 6)
    assert plan_session(session, NAMES, replace(SMALL, min_views=1)).frames.tolist() == list(range(12))
    assert plan_session(session, NAMES, replace(SMALL, min_views=1)).counts['views_without_keypoints'] == 4


def test_what_is_not_kept_is_counted(body):
    session = BlobSession(n_frames=4, missing=[(0, 0, 1)])
    session.confidence[1, 2, 3] = 0.3
    # A label on the image's far corner, where this lens model no longer holds.
    fold_lens = session.cameras.dist.clone()
    fold_lens[1] = torch.tensor([-0.9, 0, 0, 0, 0])
    session.cameras = replace(session.cameras, dist=fold_lens, fold=None)
    session.xy, _, _ = session.cameras.project(session.points)
    session.xy[2, 1, 0] = torch.tensor([299.0, 255.0])
    counts = plan_session(session, NAMES, SMALL).counts
    assert counts['keypoints_missing'] == 1
    assert counts['keypoints_below_threshold'] == 1
    assert counts['keypoints_beyond_lens_fold'] == 1
    assert counts['keypoints_stored'] == 4 * 3 * 5 - 3
    cameras = counts['cameras']
    assert [row['labels'] for row in cameras.values()] == [19, 20, 20]
    assert [row['labels_below_threshold'] for row in cameras.values()] == [0, 0, 1]


def test_labels_are_held_against_what_their_session_states_unless_asked_otherwise(caplog):
    session = BlobSession(n_frames=4)
    session.confidence[:, 1] = 0.3
    session.confidence_thresholds = {'left': 0.2, 'right': 0.2, 'above': 0.4}
    options = replace(SMALL, confidence_threshold=None)
    counts = plan_session(session, NAMES, options).counts
    assert (counts['keypoints_stored'], counts['keypoints_below_threshold']) == (60, 0)
    assert counts['cameras']['above']['confidence_threshold'] == 0.4
    assert not caplog.records
    session.confidence[0] = 0.9
    counts = plan_session(session, NAMES, replace(options, confidence_threshold=0.5)).counts
    assert counts['cameras']['right']['labels_below_threshold'] == 15
    assert 'camera right loses 15 of its 20 labels to the confidence threshold 0.5' in caplog.text


def test_sessions_with_other_cameras_and_keypoints_join(tmp_path, body):
    first = BlobSession('a', 3)
    second = BlobSession('b', 2, cameras=make_cameras(('left', 'lower')), names=NAMES[:3])
    report = preprocess([first, second], tmp_path / 'o.h5', body, SMALL)
    file = open_dataset(tmp_path / 'o.h5')
    assert file.camera_names == ('left', 'right', 'above', 'lower')
    assert file.view_mask_of.sum(1).tolist() == [3, 3, 3, 2, 2]
    record = file.record(4)
    assert record.view_mask.tolist() == [True, False, False, True]
    assert not record.confidence2d[:, 3:].any()
    assert not record.confidence3d[3:].any()
    assert file.cameras('b').names == ('left', 'lower')
    torch.testing.assert_close(file.keypoints3d('b').xyz[:, :3], second.points)
    assert report['sessions']['b']['names_not_annotated'] == ['tail', 'tip']
    assert report['totals']['frames_stored'] == 5


def test_points_are_triangulated_where_there_are_none(tmp_path, body):
    session = BlobSession(n_frames=3, with_3d=False)
    report = preprocess([session], tmp_path / 'o.h5', body, SMALL)
    assert report['sessions']['one']['points3d_from'] == 'triangulation'
    torch.testing.assert_close(
        open_dataset(tmp_path / 'o.h5').keypoints3d('one').xyz, session.points, atol=1e-5, rtol=0
    )
    preprocess([session], tmp_path / 'p.h5', body, replace(SMALL, no_3d_data=True))
    assert open_dataset(tmp_path / 'p.h5').keypoints3d('one') is None


def test_true_params_masks_and_betas_are_stored(tmp_path, body):
    session = MaskSession(n_frames=4)
    params = BodyParams.zeros(4, 4, 2)
    session.true_params = replace(params, transl=torch.randn(4, 3), body_pose=torch.randn(4, 3, 3))
    options = replace(SMALL, frame_skip=2, target_resolution=100)
    preprocess([session], tmp_path / 'o.h5', body, options, shape_betas={'one': np.array([1.0, 2.0])})
    file = open_dataset(tmp_path / 'o.h5')
    torch.testing.assert_close(file.true_params('one').transl.float(), session.true_params.transl[::2])
    assert file.known_betas(0).tolist() == [1.0, 2.0]
    # The silhouette covers the stored image where that is brighter than half, but for a rim.
    mask, image = file.mask(1, 'left') > 0, file.image(1, 'left')[..., 0]
    assert mask.any()
    assert (image[mask] > 80).all()
    assert (image[~mask] < 170).all()
    session.true_params = BodyParams.zeros(4, 5, 2)
    with pytest.raises(ValueError, match='of a model with 4 joints and 2 betas; got 5 and 2'):
        preprocess([session], tmp_path / 'p.h5', body, SMALL)
    session.true_params = replace(params, joint_offsets=torch.ones(4, 4, 3))
    with pytest.raises(ValueError, match='joint_offsets'):
        preprocess([session], tmp_path / 'p.h5', body, SMALL)
    session.true_params = None
    with pytest.raises(ValueError, match='must be 2 numbers'):
        preprocess([session], tmp_path / 'p.h5', body, SMALL, shape_betas={'one': np.zeros(3)})
    with pytest.raises(ValueError, match="must name a session.*Did you mean 'one'"):
        preprocess([session], tmp_path / 'p.h5', body, SMALL, shape_betas={'on': np.zeros(2)})


def test_the_body_model_is_found_beside_the_moved_file(tmp_path, body):
    (tmp_path / 'old').mkdir()
    preprocess([BlobSession(n_frames=2)], tmp_path / 'old' / 'o.h5', body, SMALL, body_model_file='four.pkl')
    assert open_dataset(tmp_path / 'old' / 'o.h5').body_model_file == 'four.pkl'
    (tmp_path / 'old' / 'four.pkl').write_bytes(b'')
    (tmp_path / 'old').rename(tmp_path / 'new')
    assert open_dataset(tmp_path / 'new' / 'o.h5').body_model_file == str(tmp_path / 'new' / 'four.pkl')


def test_threads_change_nothing(tmp_path, body):
    files = []
    for n in (0, 3):
        path = tmp_path / f'{n}.h5'
        preprocess(
            [BlobSession(n_frames=9)], path, body, replace(SMALL, num_workers=n, crop_mode='bbox_crop')
        )
        files.append(open_dataset(path))
    for i in range(9):
        for c in range(3):
            np.testing.assert_array_equal(files[0].image_bytes(i, c), files[1].image_bytes(i, c))
        np.testing.assert_array_equal(files[0].record(i).K, files[1].record(i).K)
    assert files[0].fingerprint == files[1].fingerprint


class StoppingSession(BlobSession):
    """Fails at a frame, as a full disk or a closed lid would."""

    def frames(self, indices=None):
        for i, images in super().frames(indices):
            if i == 100:
                raise RuntimeError('stopped')
            yield i, images


def test_a_stopped_run_goes_on_and_a_finished_one_is_not_done_twice(tmp_path, body):
    path = tmp_path / 'o.h5'
    with pytest.raises(RuntimeError, match='stopped'):
        preprocess([StoppingSession(n_frames=110)], path, body, SMALL)
    assert not path.exists()
    with pytest.raises(ValueError, match='same sessions and options'):
        preprocess([BlobSession(n_frames=110)], path, body, replace(SMALL, jpeg_quality=50))
    session = BlobSession(n_frames=110)
    report = preprocess([session], path, body, SMALL)
    assert session.decoded == list(range(64, 110))
    preprocess([BlobSession(n_frames=110)], tmp_path / 'once.h5', body, SMALL)
    resumed, once = open_dataset(path), open_dataset(tmp_path / 'once.h5')
    for i in (0, 63, 64, 109):
        np.testing.assert_array_equal(resumed.image_bytes(i, 1), once.image_bytes(i, 1))
    session.decoded.clear()
    assert preprocess([session], path, body, SMALL) == report == json.loads(json.dumps(resumed.report))
    assert session.decoded == []
    with pytest.raises(FileExistsError, match='--overwrite'):
        preprocess([session], path, body, replace(SMALL, jpeg_quality=50))
    preprocess([session], path, body, replace(SMALL, jpeg_quality=50), overwrite=True)
    assert open_dataset(path).options['jpeg_quality'] == 50


def test_the_same_recordings_for_another_body_need_not_be_made_again(tmp_path):
    body, path = make_body(), tmp_path / 'data.h5'
    other = replace(body, v_template=2 * body.v_template)
    preprocess([BlobSession(n_frames=3)], path, body, SMALL)
    with pytest.raises(FileExistsError, match=r'give --body-model other\.pkl to fit'):
        preprocess([BlobSession(n_frames=3)], path, other, SMALL, body_model_file='other.pkl')
    open_dataset(path).check_other_body_model(other)


def wrong_camera() -> Cameras:
    rig = make_cameras()
    R, t = rig.R.clone(), rig.t.clone()
    R[2], t[2] = R[0], t[0]
    return replace(rig, R=R, t=t)


def test_a_camera_that_contradicts_the_others_stops_before_any_work(tmp_path, body):
    session = BlobSession(n_frames=20)
    session.cameras = wrong_camera()
    with pytest.raises(ValueError, match='--exclude-cameras above.*--allow-inconsistent-cameras above'):
        preprocess([session], tmp_path / 'o.h5', body, SMALL)
    assert session.decoded == []
    assert list(tmp_path.iterdir()) == []
    for options in (
        replace(SMALL, exclude_cameras=('above',)),
        replace(SMALL, allow_inconsistent_cameras=('above',)),
    ):
        report = preprocess([session], tmp_path / 'o.h5', body, options, overwrite=True)
        assert ('above' in report['cameras']) is not options.exclude_cameras


def test_bad_input_is_named(tmp_path, body):
    out = tmp_path / 'o.h5'
    with pytest.raises(ValueError, match='must have different names'):
        preprocess([BlobSession(), BlobSession()], out, body, SMALL)
    with pytest.raises(ValueError, match='must be a session'):
        preprocess([], out, body, SMALL)
    strange = BlobSession(names=('rooot', 'x', 'y', 'z', 'q'))
    with pytest.raises(ValueError, match="Did you mean 'root'"):
        preprocess([strange], out, body, SMALL)
    blind = BlobSession(n_frames=3, missing=[(f, 1, k) for f in range(3) for k in range(5)])
    with pytest.raises(ValueError, match='right has none.*--exclude-cameras right'):
        preprocess([blind], out, body, SMALL)
    with pytest.raises(ValueError, match='at least min_views = 4'):
        preprocess([BlobSession()], out, body, replace(SMALL, min_views=4))
    uncalibrated = BlobSession()
    uncalibrated.cameras = None
    with pytest.raises(ValueError, match='must be calibrated'):
        preprocess([uncalibrated], out, body, SMALL)
    inches = BlobSession('other')
    inches.unit = 'inch'
    with pytest.raises(ValueError, match='one world unit'):
        preprocess([BlobSession(), inches], out, body, SMALL)
    with pytest.raises(ValueError, match="Did you mean 'left'"):
        preprocess([BlobSession()], out, body, replace(SMALL, allow_inconsistent_cameras=('lefft',)))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ('name', 'value'),
    [('frame_skip', 0), ('jpeg_quality', 101), ('confidence_threshold', 1.5), ('crop_mode', 'x')],
)
def test_options_are_checked(name, value):
    with pytest.raises(ValueError, match=f'{name} must be'):
        PreprocessOptions(**{name: value})


def test_a_reader_that_loses_frames_is_refused(tmp_path):
    class Losing(BlobSession):
        def frames(self, indices=None):
            return iter(list(super().frames(indices))[:-1])

    with pytest.raises(RuntimeError, match='frame 5 must come next'):
        preprocess([Losing()], tmp_path / 'o.h5', make_body(), SMALL)


@pytest.mark.parametrize('straight', [True, False])
def test_annotated_px_are_those_of_the_labels_whatever_was_stored(tmp_path, body, straight):
    session = BlobSession(n_frames=3)
    preprocess([session], tmp_path / 'o.h5', body, replace(SMALL, no_undistort=not straight))
    file = open_dataset(tmp_path / 'o.h5')
    annotated = file.annotated2d(session.name)
    labels = session.keypoints2d(annotated.names)
    torch.testing.assert_close(annotated.xy, labels.xy, atol=1e-3, rtol=0)
    torch.testing.assert_close(annotated.rig.dist, session.cameras.dist)
    assert (file.keypoints2d(session.name).xy - labels.xy).abs().max() > 0.5 or not straight


def test_another_body_with_the_same_keypoints_takes_the_file(tmp_path, body):
    preprocess([BlobSession()], tmp_path / 'a.h5', body)
    file = open_dataset(tmp_path / 'a.h5')
    larger = replace(body, name='larger', v_template=1.2 * body.v_template)
    file.check_other_body_model(larger)
    with pytest.raises(ValueError, match=r'the body model must be the one of the dataset'):
        file.check_body_model(larger)
    bare = replace(larger, keypoint_sets={})
    with pytest.raises(ValueError, match=r"must have its keypoints; larger has no 'tip'"):
        file.check_other_body_model(bare)
    preprocess([BlobSession()], tmp_path / 'b.h5', body, shape_betas={'one': np.zeros(2)})
    with pytest.raises(ValueError, match='must not meet parameters or shapes'):
        open_dataset(tmp_path / 'b.h5').check_other_body_model(larger)
