"""Sets of images in dataset files: rendered truth comes back through crops, and nothing is lost untold."""

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from smilfit.body_models import BodyModelData
from smilfit.datasets import ImageSession, PreprocessOptions, image_sessions, open_dataset, preprocess
from smilfit.structures import AnnotationSet, SkippedAnnotation, VideoFrame
from smilfit.synthetic import make_quadruped
from tests.datasets.blob_session import BlobSession
from tests.datasets.image_set import SIZES, ImageSet, make_images

OPTIONS = PreprocessOptions(crop_mode='bbox_crop', target_resolution=96, num_workers=0)
LENS = torch.tensor([-0.2, 0.05, 1e-3, -1e-3, 0.0])


@pytest.fixture(scope='module')
def data() -> BodyModelData:
    return make_quadruped()


@pytest.fixture(scope='module')
def image_set(tmp_path_factory: pytest.TempPathFactory, data: BodyModelData) -> ImageSet:
    return make_images(tmp_path_factory.mktemp('pictures'), data)


def store(annotations: AnnotationSet, out: Path, data: BodyModelData, **changes):
    sessions, left_out = image_sessions(annotations)
    report = preprocess(sessions, out, data, replace(OPTIONS, **changes), left_out=left_out)
    return open_dataset(out), report


def in_mask(file, made: ImageSet) -> float:
    """Return which share of the vertices on the images' masks falls on the stored ones (grown by one px).

    Vertices of parts thinner than a pixel are on neither.
    """
    masks, weight = file.masks('made')
    assert weight.all()
    valid = file.stored_cameras('made').project(made.vertices)[0].round().long().numpy()
    hits = []
    for i, image in enumerate(made.annotations.images):
        x, y = made.cameras[i].project(made.vertices[i])[0][0].round().long().numpy().T
        width, height = image.size
        on = (x >= 0) & (y >= 0) & (x < width) & (y < height)
        on[on] = image.mask.read()[y[on], x[on]]
        grown = np.pad(masks[i, 0] > 0, 1)
        grown = np.max([grown[v : v + 96, u : u + 96] for v in range(3) for u in range(3)], axis=0)
        x, y = valid[i, 0][on].clip(0, 95).T
        hits.append(grown[y, x])
    assert np.concatenate(hits).size > 0.75 * made.vertices[..., 0].numel()
    return float(np.concatenate(hits).mean())


@pytest.mark.parametrize('case', ['bbox_crop', 'default', 'lens', 'lens kept'])
def test_rendered_truth_comes_back(tmp_path, data, image_set, case):
    made = make_images(tmp_path, data, 2, dist=LENS) if 'lens' in case else image_set
    mode = 'bbox_crop' if 'lens' in case else case
    file, _ = store(
        made.annotations, tmp_path / 'a.h5', data, crop_mode=mode, no_undistort=case == 'lens kept'
    )
    n = len(made.annotations)
    assert file.has_own_cameras('made')
    assert not file.temporal('made')
    assert file.intrinsics_known('made').all()
    assert file.labels('made') == tuple(str(image.image) for image in made.annotations.images)
    stored = file.stored_cameras('made')
    # The crops' cameras are the images' by the map that the file states.
    for i in range(n):
        record, camera = file.record(i), made.cameras[i]
        assert tuple(file.cameras('made').size[i, 0].tolist()) == SIZES[i]
        bottom = np.array([[0, 0, 1.0]])
        back = np.concatenate((record.to_original[0], bottom)) @ record.K[0]
        np.testing.assert_allclose(back, camera.K[0], atol=1e-9)
        np.testing.assert_allclose(stored.K[i, 0], record.K[0], atol=1e-9)
        np.testing.assert_array_equal(record.R[0], camera.R[0])
        np.testing.assert_array_equal(record.size[0], [96, 96])
    points = made.body(made_params(file), need=made.annotations.keypoint_names).keypoints
    for own in (True, False):
        seen = file.keypoints2d('made', made.annotations.keypoint_names, stored=own)
        off = (seen.cameras.project(points)[0] - seen.xy).norm(dim=-1)
        assert seen.confidence.all()
        assert float(off.max()) < 0.01
    assert in_mask(file, made) > 0.999
    given = file.keypoints3d('made', made.annotations.keypoint_names)
    torch.testing.assert_close(given.xyz, points)


def made_params(file):
    """The parameters of the file, which are the true ones."""
    return file.true_params('made')


def test_crops_go_round_box_then_mask_then_keypoints(tmp_path, data, image_set):
    images = image_set.annotations.images
    bare = tuple(replace(image, box=None) for image in images)
    only_points = tuple(replace(image, box=None, mask=None) for image in images)
    result = {}
    for name, chosen in (('box', images), ('mask', bare), ('points', only_points)):
        annotations = replace(image_set.annotations, images=chosen)
        file, report = store(annotations, tmp_path / f'{name}.h5', data)
        result[name] = file.stored_cameras('made').K
        assert report['totals']['masks_stored'] == (0 if name == 'points' else 4)
        assert file.has_masks is (name != 'points')
    # The boxes were those of the masks; the last file's crops fit the keypoints.
    torch.testing.assert_close(result['box'], result['mask'])
    xy = file.keypoints2d('made', stored=True).xy
    extent = (xy.amax((1, 2)) - xy.amin((1, 2))).amax(-1)
    assert (xy.amin() >= 0).item()
    assert (xy.amax() <= 95).item()
    assert (extent > 85).all()


def test_unknown_cameras_are_guessed_and_reported(tmp_path, data):
    made = make_images(tmp_path, data, 2, known_cameras=False)
    file, report = store(made.annotations, tmp_path / 'a.h5', data)
    camera = file.cameras('made')
    assert not file.intrinsics_known('made').any()
    torch.testing.assert_close(camera.K[1, 0, 0, 0], torch.tensor(1.2 * 180).double())
    torch.testing.assert_close(camera.K[0, 0, :2, 2], torch.tensor([99.5, 74.5]).double())
    torch.testing.assert_close(camera.R[0, 0], torch.eye(3).double())
    assert report['totals']['pictures_with_guessed_intrinsics'] == 2
    sessions, _ = image_sessions(made.annotations, focal_px=300.0)
    assert float(sessions[0].cameras.K[1, 0, 1, 1]) == 300.0
    assert sessions[0].intrinsics_known.all()


def test_what_is_broken_is_left_out_and_reported(tmp_path, data):
    made = make_images(tmp_path, data, 4)
    images = list(made.annotations.images)
    whole = images[0].image.read_bytes()
    images[0].image.write_bytes(whole[: len(whole) // 2])
    images[1] = replace(images[1], confidence=np.zeros_like(images[1].confidence), mask=None)
    images[2] = replace(images[2], size=(10, 20))
    other = {**images[3].params, 'betas': np.zeros(99)}
    images[3] = replace(images[3], params=other)
    annotations = replace(made.annotations, images=tuple(images))
    file, report = store(annotations, tmp_path / 'a.h5', data)
    reasons = {entry['where']: entry['reason'] for entry in report['left_out']}
    assert list(reasons) == [images[i].where for i in (1, 0, 2)]
    assert 'the image must' in reasons[images[0].where]
    assert 'must have a mask or a keypoint' in reasons[images[1].where]
    assert 'stated size (10, 20); got (256, 256)' in reasons[images[2].where]
    assert report['totals']['frames_stored'] == 1
    assert report['totals']['params_of_another_body'] == 1
    assert file.view_mask_of[:, 0].tolist() == [False, False, True]
    assert sorted(file.faults) == [0, 1]
    assert not file.keypoints2d('made').confidence[:2].any()
    # A second run reports the same.
    again, _ = image_sessions(annotations)
    repeated = preprocess(again, tmp_path / 'a.h5', data, OPTIONS)
    assert repeated['left_out'] == report['left_out']
    with pytest.raises(ValueError, match='all 1 are left out, the first made.json, entry 1'):
        store(replace(annotations, images=(images[1],)), tmp_path / 'b.h5', data)


def test_sequences_become_sessions_in_order_of_time(tmp_path, data, image_set):
    images = image_set.annotations.images
    times = (('a', 7), ('b', 1), ('a', 3), ('a', 7))
    moved = tuple(replace(im, sequence=s, frame=f) for im, (s, f) in zip(images, times))
    annotations = replace(image_set.annotations, images=moved, temporal=True, fps={'a': 25.0})
    _, left_out = image_sessions(annotations)
    assert [entry.where for entry in left_out] == [images[3].where]
    file, _ = store(annotations, tmp_path / 'a.h5', data)
    assert file.session_names == ('a', 'b')
    assert file.frame_indices('a').tolist() == [3, 7]
    assert (file.fps('a'), file.fps('b'), file.temporal('a')) == (25.0, None, True)
    assert file.labels('a') == (str(images[2].image), str(images[0].image))
    torch.testing.assert_close(file.cameras('b').K, image_set.cameras[1].K[None])
    torch.testing.assert_close(torch.from_numpy(file.record(2).t[0]), image_set.cameras[1].t[0])


def test_masks_alone_are_enough(tmp_path, data, image_set):
    none = np.zeros((0, 2))
    images = tuple(
        replace(im, keypoints=none, confidence=none[:, 0], keypoints3d=None)
        for im in image_set.annotations.images
    )
    file, report = store(AnnotationSet('masks', (), images), tmp_path / 'a.h5', data)
    assert file.keypoint_names == tuple(data.joint_names)
    assert not file.keypoints2d('masks').visible.any()
    assert file.masks('masks')[1].all()
    assert report['left_out'] == []


def test_a_stopped_run_goes_on_and_repeats_its_report(tmp_path, data, image_set, monkeypatch):
    # Blocks of two samples, so that a broken image lies in one that is written.
    monkeypatch.setattr('smilfit.datasets.store.store_writer.BLOCK', 2)
    images = list(image_set.annotations.images)
    broken = tmp_path / 'broken.png'
    broken.write_bytes(b'none')
    images[1] = replace(images[1], image=broken)
    annotations = replace(image_set.annotations, images=tuple(images))
    _, report = store(annotations, tmp_path / 'whole.h5', data)

    class Stopped(ImageSession):
        def entries(self, indices=None, with_masks=True):
            for n, entry in enumerate(super().entries(indices, with_masks)):
                if n == 3:
                    raise KeyboardInterrupt
                yield entry

    session = Stopped('made', images, annotations.keypoint_names)
    with pytest.raises(KeyboardInterrupt):
        preprocess([session], tmp_path / 'a.h5', data, OPTIONS)
    file, again = store(annotations, tmp_path / 'a.h5', data)
    assert again == report
    assert [entry['where'] for entry in again['left_out']] == [images[1].where]
    for i in (0, 2, 3):
        np.testing.assert_array_equal(
            file.image(i, 'picture'), open_dataset(tmp_path / 'whole.h5').image(i, 'picture')
        )


def test_frames_of_a_video_are_decoded_in_order(tmp_path, data, image_set):
    """The same frame for two animals, frames out of order, and a frame that is not there."""
    video = tmp_path / 'video.avi'
    writer = cv2.VideoWriter(str(video), cv2.VideoWriter_fourcc(*'MJPG'), 10, (64, 48))
    for grey in (0, 40, 80, 120):
        writer.write(np.full((48, 64, 3), grey, np.uint8))
    writer.release()
    first = replace(
        image_set.annotations.images[0], size=(64, 48), box=None, mask=None, params=None, camera=None
    )
    first = replace(first, keypoints3d=None, keypoints=first.keypoints % 40)
    wanted = (2, 0, 2, 9, 3)
    images = tuple(
        replace(first, where=f'v.csv, row {n}', image=VideoFrame(video, index))
        for n, index in enumerate(wanted)
    )
    annotations = replace(image_set.annotations, images=images)
    file, report = store(annotations, tmp_path / 'a.h5', data, crop_mode='default')
    assert [entry['where'] for entry in report['left_out']] == ['v.csv, row 3']
    greys = [round(float(file.image(i, 'picture').mean()) / 40) for i in range(4)]
    assert greys == [0, 2, 2, 3]
    assert file.labels('made')[1:3] == tuple(f'{VideoFrame(video, 2)} #{n}' for n in (1, 2))
    assert file.labels('made')[0] == str(VideoFrame(video, 0))
    assert file.entries('made') == tuple(f'v.csv, row {n}' for n in (1, 0, 2, 4, 3))


def test_a_long_list_of_what_was_left_out_fits_into_the_file(tmp_path, data, image_set):
    left_out = [
        SkippedAnnotation(f'made.json, entry {i}', 'a reason of some length ' * 4) for i in range(3000)
    ]
    sessions, _ = image_sessions(image_set.annotations)
    preprocess(sessions, tmp_path / 'a.h5', data, OPTIONS, left_out=left_out)
    assert len(open_dataset(tmp_path / 'a.h5').report['left_out']) == 3000


def test_images_lie_beside_sessions_of_a_rig(tmp_path, data, image_set):
    """One file of both: each keeps its cameras, and the union of cameras has zeros where a view is absent."""
    names = image_set.annotations.keypoint_names[:3]
    rig = BlobSession('rig', 4, names=names)
    (shots,), _ = image_sessions(image_set.annotations, unit='mm')
    report = preprocess([rig, shots], tmp_path / 'a.h5', data, OPTIONS)
    file = open_dataset(tmp_path / 'a.h5')
    assert file.camera_names == ('left', 'right', 'above', 'picture')
    assert [file.has_own_cameras(name) for name in file.session_names] == [False, True]
    assert file.cameras('rig').K.shape == (3, 3, 3)
    assert file.view_mask_of.sum(1).tolist() == [3, 3, 3, 3, 1, 1, 1, 1]
    record = file.record(6)
    np.testing.assert_array_equal(record.R[3], image_set.cameras[2].R[0])
    assert not record.K[:3].any()
    torch.testing.assert_close(file.stored_cameras('rig').K[1, 2], torch.from_numpy(file.record(1).K[2]))
    assert report['totals']['frames_stored'] == 8
    assert report['sessions']['rig']['points3d_from'] == 'the session'
