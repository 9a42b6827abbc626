"""A video has all its frames, in order, at the right size; or it is not there."""

import cv2
import numpy as np
import pytest

from smilfit.drawing import write_video


def frame(i, height=48, width=64):
    return np.full((height, width, 3), 20 + 10 * i, np.uint8)


def read(path):
    capture = cv2.VideoCapture(str(path))
    frames = []
    while True:
        ok, image = capture.read()
        if not ok:
            return frames, capture.get(cv2.CAP_PROP_FPS)
        frames.append(image)


@pytest.mark.parametrize('codec', ['mp4v', 'vp09'])
def test_all_frames_in_order_at_their_size(tmp_path, codec):
    path = tmp_path / 'deep' / 'v.mp4'
    assert write_video(path, (frame(i) for i in range(12)), 25, 12, codec) == 12
    frames, fps = read(path)
    assert len(frames) == 12
    assert fps == pytest.approx(25.0)
    assert frames[0].shape == (48, 64, 3)
    np.testing.assert_allclose([f.mean() for f in frames], [20 + 10 * i for i in range(12)], atol=4)


def test_one_frame_at_a_time(tmp_path):
    alive = []

    def frames():
        import weakref

        for i in range(6):
            image = frame(i)
            alive.append(weakref.ref(image))
            yield image
            del image
            assert sum(ref() is not None for ref in alive) <= 1

    write_video(tmp_path / 'v.mp4', frames(), 10)


def test_odd_sizes_become_even_by_repeating_the_edge(tmp_path):
    write_video(tmp_path / 'v.mp4', [frame(3, 47, 63)] * 2, 10)
    assert read(tmp_path / 'v.mp4')[0][0].shape == (48, 64, 3)


def test_colours_are_rgb(tmp_path):
    red = np.zeros((48, 64, 3), np.uint8)
    red[..., 0] = 200
    write_video(tmp_path / 'v.mp4', [red] * 2, 10)
    assert read(tmp_path / 'v.mp4')[0][0].mean((0, 1)).argmax() == 2  # cv2 reads BGR


@pytest.mark.parametrize(
    ('frames', 'n', 'message'),
    [
        ([], None, 'there must be at least one frame'),
        ([frame(0), frame(0, 50)], None, 'all frames must have one size; frame 1'),
        ([frame(0)], 2, 'must get 2 frames; got 1'),
        ([frame(0).astype(float)], None, 'frame 0 must be RGB uint8'),
    ],
)
def test_a_failed_video_leaves_nothing(tmp_path, frames, n, message):
    with pytest.raises(ValueError, match=message):
        write_video(tmp_path / 'v.mp4', frames, 10, n)
    assert list(tmp_path.iterdir()) == []


def test_bad_arguments_are_named(tmp_path):
    with pytest.raises(ValueError, match=r'must end with \.mp4'):
        write_video(tmp_path / 'v.avi', [frame(0)], 10)
    with pytest.raises(ValueError, match='fps must be above 0; got 0'):
        write_video(tmp_path / 'v.mp4', [frame(0)], 0)
    with pytest.raises(ValueError, match="one of mp4v, vp09; got 'h264'"):
        write_video(tmp_path / 'v.mp4', [frame(0)], 10, codec='h264')


def test_a_place_that_cannot_be_written_is_an_error(tmp_path):
    (tmp_path / '.v.tmp.mp4').mkdir()
    with pytest.raises(OSError, match=r'v\.mp4: the output must be writable; the folder .* is in its way'):
        write_video(tmp_path / 'v.mp4', [frame(0)], 10)
