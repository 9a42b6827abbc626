import json

import cv2
import numpy as np
import pytest
import torch

from smilfit.io.annotations import ReplicantReader, check_images
from smilfit.io.annotations.replicant import camera_from_matrices
from smilfit.registry import UnknownNameError, build_annotations

SIZE = (64, 48)
NAMES = ('b_t', 'l_1_co_r', 'l_1_co_l')
TURN, PITCH, FIELD = 0.7, -0.4, np.radians(40.0)


def planes(matrix):
    return {f'{row}Plane': dict(zip('xyzw', matrix[i].tolist())) for i, row in enumerate('xyzw')}


def unreal_view(location):
    """Make a View Matrix as Unreal does: yaw about z, pitch, then its axes (forward, right, up) to (z, x, y)."""
    c, s, cp, sp = np.cos(TURN), np.sin(TURN), np.cos(PITCH), np.sin(PITCH)
    forward = np.array([c * cp, s * cp, sp])
    right = np.array([-s, c, 0.0])
    up = np.array([-c * sp, -s * sp, cp])
    view = np.eye(4)
    view[:3, :3] = np.stack((right, up, forward), axis=1)
    view[3, :3] = -np.asarray(location) @ view[:3, :3]
    return view, (forward, right, up)


def lens(centre=(0.0, 0.0)):
    x = 1 / np.tan(FIELD / 2)
    y = x * SIZE[0] / SIZE[1]
    return np.array([[x, 0, 0, 0], [0, y, 0, 0], [*centre, 0, 1], [0, 0, 10, 0]])


def scene(points, location=(-30.0, 5.0, 12.0), centre=(0.0, 0.0), iteration=0):
    """Write a sample of subjects given as {id: points (K, 3)}, projected by hand in Unreal's frame."""
    view, (forward, right, up) = unreal_view(location)
    subjects = []
    for number, xyz in points.items():
        keypoints = {}
        for name, point in zip(NAMES, xyz, strict=True):
            offset = np.asarray(point) - location
            depth = offset @ forward
            x = offset @ right / depth / np.tan(FIELD / 2) + centre[0]
            y = offset @ up / depth / np.tan(FIELD / 2) * SIZE[0] / SIZE[1] + centre[1]
            u, v = (x + 1) / 2 * SIZE[0], (1 - y) / 2 * SIZE[1]
            keypoints[name] = {'2DPos': {'x': u, 'y': v}, '3DPos': dict(zip('xyz', point.tolist()))}
        bounds = {'xmin': 10.0, 'xmax': 30.0, 'ymin': 5.0, 'ymax': 25.0}
        subjects.append({number: {'2DBounds': bounds, 'keypoints': keypoints, 'shape betas': [0.5, 0]}})
    camera = {'View Matrix': planes(view), 'View Projection Matrix': planes(view @ lens(centre))}
    return {'iterationData': {'iteration': iteration, 'camera': camera, 'subject Data': subjects}}


def points(seed=0):
    forward = unreal_view((0, 0, 0))[1][0]
    return np.array([-30.0, 5, 12]) + 40 * forward + np.random.default_rng(seed).uniform(-4, 4, size=(3, 3))


def batch(folder, scenes, classes=('ant', 'ant', 'bee')):
    folder.mkdir(exist_ok=True)
    for i, content in enumerate(scenes):
        (folder / f'run_{i:02d}.json').write_text(json.dumps(content))
        cv2.imwrite(str(folder / f'run_{i:02d}.JPG'), np.zeros((SIZE[1], SIZE[0], 3), np.uint8))
        ids = np.zeros((SIZE[1], SIZE[0], 4), np.uint8)
        ids[..., 3] = 255
        ids[5:25, 10:20, 2], ids[5:25, 20:30, 2] = 1, 2
        cv2.imwrite(str(folder / f'run_{i:02d}_ID.png'), ids)
    variations = {str(i + 1): {'Class': name, 'Scale': 1.0} for i, name in enumerate(classes)}
    content = {
        'Name': 'run',
        'Image Resolution': {'x': SIZE[0], 'y': SIZE[1]},
        'Subject Variations': variations,
    }
    (folder / '_BatchData_run.json').write_text(json.dumps(content))
    return folder


def reprojection(image):
    pixels, depth, valid = image.camera.project(torch.from_numpy(image.keypoints3d))
    assert valid.all()
    assert (depth > 0).all()
    return np.abs(pixels[0].numpy() - image.keypoints).max()


def test_points_camera_and_mask_of_two_subjects(tmp_path):
    folder = batch(tmp_path / 'run', [scene({'1': points(0), '2': points(1)}, iteration=7)])
    result = check_images(ReplicantReader().read(folder))
    assert not result.skipped
    assert [image.where for image in result.images] == ['run_00.json, subject 1', 'run_00.json, subject 2']
    for number, image in enumerate(result.images):
        assert reprojection(image) < 1e-9
        np.testing.assert_allclose(image.keypoints3d, points(number) * (1, -1, 1))
        assert image.mask.read().sum() == 200
        assert (image.category, image.frame, image.size) == ('ant', 7, SIZE)
        assert image.box.tolist() == [9.5, 4.5, 20, 20]
        assert image.params['betas'].tolist() == [0.5, 0]
    assert result.unit == 'cm'
    assert result.flip == (('l_1_co_l', 'l_1_co_r'),)


@pytest.mark.parametrize(
    ('written', 'betas'),
    [
        ({'PC_01': -0.8, 'PC_02': 0.25, 'PC_03': 0}, [-0.8, 0.25, 0]),
        # By their numbers, in whatever order and width they stand.
        ({f'PC_{n}': n / 10 for n in range(12, 0, -1)}, [n / 10 for n in range(1, 13)]),
        ([0.5, 0], [0.5, 0]),
        ({}, []),
    ],
)
def test_shape_coefficients_are_a_list_or_numbered_by_name(tmp_path, written, betas):
    content = scene({'1': points()})
    content['iterationData']['subject Data'][0]['1']['shape betas'] = written
    result = ReplicantReader().read(batch(tmp_path / 'run', [content]))
    assert result.images[0].params['betas'].tolist() == betas


@pytest.mark.parametrize(
    ('written', 'got'),
    [
        ({'PC_01': 1, 'PC_03': 2}, 'without a gap; got PC_01, PC_03'),
        ({'PC_00': 1, 'PC_01': 2}, 'without a gap; got PC_00, PC_01'),
        ({'PC_1': 1, 'PC_01': 2}, 'without a gap; got PC_1, PC_01'),
        ({'PC_01': 1, 'length': 2}, 'without a gap; got length'),
        ({'PC_01': 'long'}, 'shape betas must be n numbers'),
    ],
)
def test_other_shape_coefficients_are_reported(tmp_path, written, got):
    content = scene({'1': points()})
    content['iterationData']['subject Data'][0]['1']['shape betas'] = written
    result = ReplicantReader().read(batch(tmp_path / 'run', [scene({'1': points()}), content]))
    assert len(result) == 1
    assert got in result.skipped[0].reason


def test_the_camera_is_right_handed_and_where_unreal_says(tmp_path):
    folder = batch(tmp_path / 'run', [scene({'1': points()}, centre=(0.2, -0.1))])
    image = ReplicantReader(masks=False).read(folder).images[0]
    assert image.mask is None
    assert reprojection(image) < 1e-9
    camera = image.camera
    assert torch.linalg.det(camera.R[0]).item() == pytest.approx(1)
    np.testing.assert_allclose(camera.centres()[0], [-30, -5, 12])
    # The viewport's middle is between pixels 31 and 32, then the lens is shifted.
    np.testing.assert_allclose(camera.K[0, :2, 2], [31.5 + 0.2 * 32, 23.5 + 0.1 * 24])
    assert camera.K[0, 0, 0].item() == pytest.approx(32 / np.tan(FIELD / 2))


def test_a_single_file_finds_its_size_itself(tmp_path):
    folder = batch(tmp_path / 'run', [scene({'1': points()})])
    (folder / '_BatchData_run.json').unlink()
    result = ReplicantReader().read(folder / 'run_00.json')
    assert result.images[0].size == SIZE
    assert result.images[0].category == ''


def test_a_batch_goes_on_after_a_broken_file(tmp_path):
    far = scene({'1': points()})
    far['iterationData']['subject Data'][0]['1']['keypoints']['b_t']['2DPos']['x'] += 0.5
    other = scene({'1': points()})
    other['iterationData']['subject Data'][0]['1']['keypoints']['tail'] = {}
    flat = scene({'1': points()})
    flat['iterationData']['camera']['View Projection Matrix'] = planes(np.eye(4))
    scenes = [scene({'1': points()}), {'a': 1}, far, other, flat, scene({'300': points()})]
    folder = batch(tmp_path / 'run', scenes)
    result = ReplicantReader().read(folder / '_BatchData_run.json')
    assert len(result) == 1
    rules = (
        ('run_01.json', 'iterationData must be given'),
        ('run_02.json, subject 1', '0.50 px beside it'),
        ('run_03.json, subject 1', 'tail differ'),
        ('run_04.json, subject 1', ''),
        ('run_05.json, subject 300', '1 to 255'),
    )
    for skipped, (where, rule) in zip(result.skipped, rules, strict=True):
        assert skipped.where == where
        assert rule in skipped.reason
    with pytest.raises(ValueError, match='run_01.json: iterationData must be given'):
        ReplicantReader().read(folder / 'run_01.json')
    (folder / 'run_01.json').write_text('[]')
    with pytest.raises(ValueError, match='must be an object; got list'):
        ReplicantReader().read(folder / 'run_01.json')


def test_points_behind_the_camera_are_missing(tmp_path):
    xyz = points()
    xyz[1] = [-60.0, -20, 12]
    image = ReplicantReader().read(batch(tmp_path / 'run', [scene({'1': xyz})])).images[0]
    assert image.confidence.tolist() == [1, 0, 1]
    assert image.confidence3d.tolist() == [1, 1, 1]


def test_a_class_can_be_chosen(tmp_path):
    folder = batch(tmp_path / 'run', [scene({'1': points(0), '3': points(1)})])
    assert [image.category for image in ReplicantReader(hidden='keep').read(folder).images] == ['ant', 'bee']
    assert [
        image.category for image in ReplicantReader(category='bee', hidden='keep').read(folder).images
    ] == ['bee']
    with pytest.raises(UnknownNameError, match="'bea' is none. Did you mean 'bee'"):
        ReplicantReader(category='bea').read(folder)


def test_cameras_that_are_none_are_reported():
    view, _ = unreal_view((1.0, 2, 3))
    with pytest.raises(ValueError, match='singular matrix'):
        camera_from_matrices(np.zeros((4, 4)), view @ lens(), SIZE, 'cm')
    with pytest.raises(ValueError, match='got another projection'):
        camera_from_matrices(view, view, SIZE, 'cm')
    with pytest.raises(ValueError, match='must have a rotation R'):
        camera_from_matrices(view * 2, view * 2 @ lens(), SIZE, 'cm')


def test_folders_without_a_batch_are_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match='got none'):
        ReplicantReader().read(tmp_path)
    with pytest.raises(FileNotFoundError, match='must exist'):
        ReplicantReader().read(tmp_path / '_BatchData_a.json')
    folder = batch(tmp_path / 'run', [scene({'1': points()})])
    (folder / '_BatchData_run.json').write_text('{"Name": "run"}')
    with pytest.raises(ValueError, match='Image Resolution must be given'):
        ReplicantReader().read(folder)


def test_a_hidden_subject_is_reported_or_kept(tmp_path):
    folder = batch(tmp_path / 'run', [scene({'1': points(0), '3': points(1)})])
    result = ReplicantReader().read(folder)
    assert len(result) == 1
    assert 'it is hidden' in result.skipped[0].reason
    assert len(check_images(ReplicantReader(hidden='keep').read(folder))) == 2


@pytest.mark.real
@pytest.mark.parametrize(('name', 'count', 'hidden'), [('SMIL', 9, 1), ('replicAnt-x-SMIL-demo', 20, 0)])
def test_real_batches_project_to_a_tenth_of_a_pixel(real_data, name, count, hidden):
    result = build_annotations(dict(type='replicant')).read(real_data / 'replicant' / name)
    assert (len(result), len(result.skipped)) == (count, hidden)
    for image in result.images:
        assert reprojection(image) < 1e-6
        assert torch.linalg.det(image.camera.R[0]).item() == pytest.approx(1)
    checked = check_images(result)
    assert len(checked) == count
    for image in checked.images:
        assert (image.mask is not None) == (name == 'SMIL')
        if image.mask is not None:
            x, y = image.keypoints[image.confidence > 0].round().astype(int).T
            assert image.mask.read()[y, x].mean() > 0.4
