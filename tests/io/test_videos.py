import numpy as np
import pytest

from smilfit.io import iterate_videos, probe_video


@pytest.mark.parametrize('suffix', ['.avi', '.mp4'])
def test_counts_and_reads_in_order(tmp_path, write_video, suffix):
    path = write_video(tmp_path / f'a{suffix}', n_frames=9)
    info = probe_video(path)
    assert (info.n_frames, info.fps, info.size) == (9, 25.0, (96, 64))
    shades = [round(f['a'][..., 2].mean() / 20) for _, f in iterate_videos({'a': path}, range(9))]
    assert shades == list(range(9))


def test_images_are_rgb_and_cameras_in_lockstep(tmp_path, write_video):
    paths = {
        'a': write_video(tmp_path / 'a.avi', n_frames=8, shade=10),
        'b': write_video(tmp_path / 'b.avi', n_frames=8, shade=30),
    }
    seen = list(iterate_videos(paths, [1, 2, 6]))
    assert [i for i, _ in seen] == [1, 2, 6]
    for index, images in seen:
        assert list(images) == ['a', 'b']
        for name, shade in (('a', 10), ('b', 30)):
            assert images[name].dtype == np.uint8
            assert images[name].shape == (64, 96, 3)
            np.testing.assert_allclose(images[name].mean((0, 1)), [200, 60, shade * index], atol=4)


@pytest.mark.parametrize('suffix', ['.avi', '.mp4'])
def test_far_frames_are_those_of_reading_in_order(tmp_path, write_video, suffix):
    path = write_video(tmp_path / f'a{suffix}', n_frames=760, shade=250 / 760)
    in_order = {i: images['a'] for i, images in iterate_videos({'a': path}, range(760))}
    for index, images in iterate_videos({'a': path}, [4, 333, 334, 747]):
        np.testing.assert_array_equal(images['a'], in_order[index])
    assert in_order[333][..., 2].mean() < in_order[747][..., 2].mean() - 50


@pytest.mark.parametrize('indices', [[-1], [2, 1], [1, 1]])
def test_indices_must_increase(tmp_path, write_video, indices):
    path = write_video(tmp_path / 'a.avi')
    with pytest.raises(ValueError, match='strictly increasing'):
        iterate_videos({'a': path}, indices)


def test_a_container_that_promises_more_is_counted_by_decoding(tmp_path, write_video, capfd):
    path = write_video(tmp_path / 'a.avi', n_frames=40)
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 6 // 10])
    info = probe_video(path)
    assert info.stated_frames == 40
    assert 0 < info.n_frames < 30
    with pytest.raises(RuntimeError, match=r'a.avi: frame \d+ must decode'):
        list(iterate_videos({'a': path}, [39]))


def test_a_file_without_its_end_does_not_open(tmp_path, write_video, capfd):
    path = write_video(tmp_path / 'a.mp4', n_frames=40)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(ValueError, match='must be a video that opens'):
        probe_video(path)


def test_a_missing_video_is_an_error(tmp_path):
    with pytest.raises(FileNotFoundError, match='the video must exist'):
        probe_video(tmp_path / 'none.mp4')


def test_windows_of_images_need_no_copy_of_all_of_each(tmp_path, write_video):
    paths = {'a': write_video(tmp_path / 'a.avi', n_frames=9)}
    plain = [images['a'] for _, images in iterate_videos(paths, [1, 4, 7])]
    kept = [(images['a'], images['a'].copy()) for _, images in iterate_videos(paths, [1, 4, 7], bgr=True)]
    for rgb, (_, bgr) in zip(plain, kept, strict=True):
        np.testing.assert_array_equal(rgb, bgr[..., ::-1])
    # All of them in one place.
    assert len({image.ctypes.data for image, _ in kept}) == 1


def test_a_container_may_be_believed(tmp_path, write_video):
    path = write_video(tmp_path / 'a.mp4', n_frames=9)
    assert probe_video(path, count=False) == probe_video(path)
