import cv2
import pytest
import torch

from smilfit.structures import Cameras, Keypoints2d

LENS = [-0.285, 0.0, 0.0, 0.0, 0.0]


def _cameras(dist=LENS, n=2, focal=769.9) -> Cameras:
    K = torch.tensor([[focal, 0, 639.5], [0, focal, 511.5], [0, 0, 1]], dtype=torch.float64).repeat(n, 1, 1)
    t = torch.zeros(n, 3, dtype=torch.float64)
    t[:, 2] = 5
    return Cameras(
        names=tuple(f'cam{i}' for i in range(n)),
        K=K,
        R=torch.eye(3, dtype=torch.float64).repeat(n, 1, 1),
        t=t,
        size=torch.tensor([1280.0, 1024.0], dtype=torch.float64).repeat(n, 1),
        dist=torch.tensor(dist, dtype=torch.float64).repeat(n, 1),
    )


def _all_pixels() -> torch.Tensor:
    y, x = torch.meshgrid(torch.arange(0.0, 1024, 4), torch.arange(0.0, 1280, 4), indexing='ij')
    return torch.stack((x, y), -1).reshape(1, -1, 2).double()


def test_part_of_a_barrel_lens_image_lies_beyond_the_fold():
    cameras = _cameras(n=1)
    pixels = _all_pixels()
    flat, valid = cameras.undistort(pixels)
    # The lens polynomial's largest radius is 555 px here; the corners of the image are 819 px away.
    distance = (pixels - cameras.K[:, :2, 2]).norm(dim=-1)
    assert float(distance[valid].max()) == pytest.approx(555, abs=2)
    assert float((~valid).double().mean()) == pytest.approx(0.28, abs=0.01)
    assert flat.isfinite().all()
    torch.testing.assert_close(cameras.distort(flat)[valid], pixels[valid], atol=1e-6, rtol=0)


def test_undistorted_points_lie_where_undistorted_images_show_them():
    cameras = _cameras([-0.2, 0.05, 0.001, -0.001, 0.0], n=1)
    spot = torch.tensor([[[700.0, 300.0]]], dtype=torch.float64)
    image = torch.zeros(1024, 1280).numpy()
    y, x = torch.meshgrid(torch.arange(1024.0), torch.arange(1280.0), indexing='ij')
    image = torch.exp(-((x - 700) ** 2 + (y - 300) ** 2) / 18).numpy()
    flat = cv2.undistort(image, cameras.K[0].numpy(), cameras.dist[0].numpy())
    total = flat.sum()
    centre = [float((flat * axis.numpy()).sum() / total) for axis in (x, y)]
    result, _ = cameras.undistort(spot)
    assert result[0, 0].tolist() == pytest.approx(centre, abs=0.05)


def test_an_ideal_lens_drops_its_zeros():
    cameras = _cameras([0.0] * 5)
    assert cameras.dist is None
    assert cameras.fold is None
    pixels, valid = cameras.undistort(torch.full((2, 3, 2), 5.0, dtype=torch.float64))
    assert valid.all()
    assert torch.equal(pixels, torch.full((2, 3, 2), 5.0, dtype=torch.float64))


def test_an_affine_crop_changes_k_exactly():
    cameras = _cameras()
    points = 0.8 * torch.randn(20, 3, dtype=torch.float64)
    A = torch.tensor(
        [[[0.3, 0.1, -40.0], [-0.2, 0.5, 12.0]], [[0.25, 0, 0], [0, 0.25, 0]]], dtype=torch.float64
    )
    size = torch.tensor([[224.0, 224.0]] * 2, dtype=torch.float64)
    pixels, depth, valid = cameras.project(points)
    moved = pixels @ A[..., :2].transpose(-1, -2) + A[..., None, :, 2]
    cropped = cameras.transformed(A, size)
    again, depth_again, valid_again = cropped.project(points)
    torch.testing.assert_close(again, moved, atol=1e-9, rtol=0)
    torch.testing.assert_close(depth_again, depth)
    assert torch.equal(valid_again, valid)
    # Undistortion commutes with the crop.
    flat, inside = cameras.undistort(pixels)
    flat_crop, inside_crop = cropped.undistort(moved)
    assert torch.equal(inside, inside_crop)
    expected = flat @ A[..., :2].transpose(-1, -2) + A[..., None, :, 2]
    torch.testing.assert_close(flat_crop[inside], expected[inside], atol=1e-6, rtol=0)


def test_crops_may_differ_between_frames():
    cameras = _cameras()
    A = torch.eye(2, 3, dtype=torch.float64).repeat(5, 2, 1, 1)
    A[:, :, 0, 2] = torch.arange(5.0, dtype=torch.float64)[:, None]
    cropped = cameras.transformed(A, cameras.size)
    assert cropped.K.shape == (5, 2, 3, 3)
    points = 0.3 * torch.randn(5, 4, 3, dtype=torch.float64)
    shift = cropped.project(points)[0] - cameras.project(points)[0]
    torch.testing.assert_close(shift[..., 0], torch.arange(5.0).double()[:, None, None].expand(5, 2, 4))
    assert len(cropped[1:3].K) == 2
    assert cameras[1:3] is cameras


def test_normalise_and_denormalise_are_inverse():
    cameras = _cameras()
    pixels = 1000 * torch.rand(2, 10, 2, dtype=torch.float64)
    torch.testing.assert_close(cameras.denormalise(cameras.normalise(pixels)), pixels)


def test_centres_project_nowhere_and_move_with_the_world():
    cameras = _cameras()
    assert cameras.centres()[0].tolist() == [0, 0, -5]
    assert not cameras.project(cameras.centres())[2].any()


def test_select_by_name():
    cameras = _cameras(n=3)
    picked = cameras.select(['cam2', 'cam0'])
    assert picked.names == ('cam2', 'cam0')
    assert torch.equal(picked.fold, cameras.fold[[2, 0]])
    with pytest.raises(KeyError, match=r"no camera 'cam_2'. Did you mean 'cam2'"):
        cameras.select(['cam_2'])


def test_names_must_be_as_many_as_cameras():
    with pytest.raises(ValueError, match='names must be as many as the cameras'):
        Cameras(names=('a',), **{k: getattr(_cameras(), k) for k in ('K', 'R', 't', 'size')})


def test_keypoints_clean_what_is_missing():
    xy = torch.full((1, 2, 3, 2), float('nan'))
    xy[0, 0, 1] = 4.0
    confidence = torch.zeros(1, 2, 3)
    confidence[0, 0, 1] = 0.5
    seen = Keypoints2d(xy, confidence, ('a', 'b', 'c'))
    assert seen.xy.isfinite().all()
    assert int(seen.visible.sum()) == 1
    with pytest.raises(ValueError, match='coordinates must be finite where confidence > 0'):
        Keypoints2d(xy, torch.ones(1, 2, 3), ('a', 'b', 'c'))


def test_keypoints_without_cameras_say_so():
    seen = Keypoints2d(torch.zeros(1, 1, 1, 2), torch.ones(1, 1, 1), ('a',))
    assert seen.cameras is None
    with pytest.raises(ValueError, match=r'cameras that saw them must be known; got None\. Give them'):
        seen.rig  # noqa: B018
