"""Videos end where they take more than their bytes allow; what is damaged of one is counted."""

import time
from dataclasses import replace

import cv2
import numpy as np
import pytest

from smilfit.datasets import PreprocessOptions, open_dataset, preprocess
from smilfit.files import BadFileError
from smilfit.io import SleapSession, iterate_videos, probe_video
from smilfit.io.recordings.video_capture import opened_video
from smilfit.io.recordings.videos import Damage
from tests.datasets.blob_session import make_body
from tests.hostile.hostile_videos import READ, VIDEOS
from tests.io.conftest import NODES

# Where damage is put: behind the first key frame, before the index.
_PLACES = (0.4, 0.5, 0.6)


def _textured(path, codec, n=60):
    """Write a moving square of noise, 96x64 px."""
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*codec), 25, (96, 64))
    noise = np.random.default_rng(0)
    for i in range(n):
        image = np.full((64, 96, 3), 4 * i, np.uint8)
        image[10:40, i : i + 30] = noise.integers(0, 255, image[10:40, i : i + 30].shape)
        writer.write(image)
    writer.release()
    return path


def _damaged(path):
    data = bytearray(path.read_bytes())
    for place in _PLACES:
        start = int(len(data) * place)
        for i in range(start, start + 40):
            data[i] ^= 0x55
    path.write_bytes(data)
    return path


@pytest.mark.parametrize('name', [name for name in VIDEOS if name not in READ])
def test_bombs_end_in_a_sentence(name, tmp_path):
    path = VIDEOS[name](tmp_path / f'bomb{VIDEOS[name].__defaults__[0]}')
    start = time.process_time()
    with pytest.raises((BadFileError, ValueError), match=r'bomb\.\w+: '):
        info = probe_video(path)
        for _ in iterate_videos({'a': path}, range(info.n_frames)):
            pass
    assert time.process_time() - start < 5


@pytest.mark.parametrize('name', READ)
def test_lies_that_harm_nothing_are_read(name, tmp_path):
    start = time.process_time()
    assert probe_video(VIDEOS[name](tmp_path / 'a.avi')).n_frames == 4
    assert time.process_time() - start < 5


def test_frames_that_a_decoder_made_up_are_counted(tmp_path, caplog, capfd):
    path = _damaged(_textured(tmp_path / 'a.mp4', 'mp4v'))
    damage: dict[str, Damage] = {}
    frames = [i for i, _ in iterate_videos({'a': path}, range(60), damage=damage)]
    assert frames == list(range(60))
    assert damage['a'].lost == []
    assert 1 <= len(damage['a'].mended) <= 6
    assert all(15 < frame < 45 for frame in damage['a'].mended)
    assert f'{len(damage["a"].mended)} of 60 frames are damaged' in caplog.text
    assert 'a.mp4' in caplog.text
    assert 'mpeg4' not in capfd.readouterr().err


def test_frames_that_do_not_decode_are_left_out_and_counted(tmp_path):
    clean = _textured(tmp_path / 'clean.avi', 'MJPG')
    shown = [images['a'].copy() for _, images in iterate_videos({'a': clean}, range(60))]
    path = _damaged(_textured(tmp_path / 'a.avi', 'MJPG'))
    damage: dict[str, Damage] = {}
    read = dict(iterate_videos({'a': path}, range(60), damage=damage))
    lost, mended = damage['a'].lost, damage['a'].mended
    assert lost == [i for i in read if not read[i]]
    assert 1 <= len(lost) + len(mended) <= 6
    # What comes after it stands where it stood; of bits that decode to another image nobody knows.
    for i in (*range(15), *range(45, 60)):
        np.testing.assert_array_equal(read[i]['a'], shown[i])
    with pytest.raises(RuntimeError, match=r'a\.avi: frame \d+ must decode'):
        list(iterate_videos({'a': path}, range(60)))


def test_whole_videos_are_not_damaged(tmp_path, caplog):
    path = _textured(tmp_path / 'a.mp4', 'mp4v')
    damage: dict[str, Damage] = {}
    assert len(list(iterate_videos({'a': path}, range(60), damage=damage))) == 60
    assert not damage
    assert not caplog.records


def test_a_file_that_one_trusts_may_take_more(tmp_path, monkeypatch):
    path = VIDEOS['images of 100 million px'](tmp_path / 'a.avi')
    with pytest.raises(BadFileError, match=r'must have 1 to 36 million px'), opened_video(path):
        pass
    monkeypatch.setenv('SMILFIT_READING_BUDGET', '10')
    path = VIDEOS['a count of 2,000,000,000 frames'](tmp_path / 'b.avi')
    with pytest.raises(BadFileError, match=r'at most 21,6\d\d megapixels'), opened_video(path):
        pass


def test_preprocess_reports_damaged_frames(tiny, tmp_path):
    video = tiny.folder / 'mid' / 'mid.avi'
    data = bytearray(video.read_bytes())
    # The third frame's tables go: nothing of it decodes.
    starts = [i for i in range(len(data)) if data[i : i + 3] == b'\xff\xd8\xff']
    data[starts[2] + 2 : starts[3] - 40] = bytes(starts[3] - 40 - starts[2] - 2)
    video.write_bytes(data)
    session = SleapSession(tiny.folder)
    made = tmp_path / 'a.h5'
    body = replace(make_body(), joint_names=(*NODES, 'more')[: len(make_body().joint_names)])
    report = preprocess([session], made, body, PreprocessOptions(target_resolution=32, num_workers=0))
    about = report['sessions'][session.name]
    assert about['views_that_do_not_decode'] == 1
    assert about['reader']['mid']['frames_that_do_not_decode'] == 1
    assert report['totals']['frames_stored'] == 6
    dataset = open_dataset(made)
    stored = np.array([dataset.record(i).view_mask for i in range(6)])
    assert report['totals']['views_stored'] == stored.sum() == 17
    assert not stored[2, 1]
