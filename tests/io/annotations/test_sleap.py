import cv2
import numpy as np
import pytest
import sleap_io

from smilfit.io import write_slp
from smilfit.io.annotations import SleapReader, check_images, read_image, read_images
from smilfit.registry import build_annotations
from smilfit.structures import VideoFrame

NODES = ('nose', 'left_paw', 'right_paw')
SIZE = (96, 64)


def points(seed=0):
    return np.random.default_rng(seed).uniform(5, 55, size=(3, 2))


def instance(skeleton, xy, track=None, score=None):
    if score is None:
        return sleap_io.Instance.from_numpy(xy, skeleton=skeleton, track=track)
    scores = np.full(3, score)
    return sleap_io.PredictedInstance.from_numpy(
        xy, skeleton=skeleton, point_scores=scores, score=score, track=track
    )


def labels(path, video, frames, tracks=(), embed=False, skeleton=None):
    """Write frames given as {index: [(points, track or None, score or None for a person's)]}."""
    skeleton = skeleton or sleap_io.Skeleton(list(NODES))
    video = (
        sleap_io.Video.from_filename(video)
        if embed or isinstance(video, list)
        else sleap_io.Video(str(video))
    )
    known = {name: sleap_io.Track(name) for name in tracks}
    labelled = [
        sleap_io.LabeledFrame(
            video=video,
            frame_idx=i,
            instances=[instance(skeleton, xy, known.get(t), s) for xy, t, s in result],
        )
        for i, result in frames.items()
    ]
    made = sleap_io.Labels(labelled, videos=[video], skeletons=[skeleton], tracks=list(known.values()))
    sleap_io.save_slp(made, str(path), embed='user' if embed else False, verbose=False)
    return made


@pytest.fixture
def film(tmp_path, write_video):
    return write_video(tmp_path / 'run.avi')


def test_frames_of_a_video(film, tmp_path):
    xy = np.stack([points(i) for i in range(6)])
    xy[2] = np.nan
    xy[4, 1] = np.nan
    scores = np.random.default_rng(1).uniform(0.1, 1, size=(6, 3))
    write_slp(tmp_path / 'run.slp', xy, NODES, film, scores)
    result = check_images(SleapReader().read(tmp_path / 'run.slp'))
    assert not result.skipped
    assert [image.frame for image in result.images] == [0, 1, 3, 4, 5]
    assert result.images[2].image == VideoFrame(film, 3)
    assert result.images[2].where == 'run.slp, frame 3 of run.avi'
    np.testing.assert_allclose(result.images[2].keypoints, xy[3])
    np.testing.assert_allclose(result.images[2].confidence, scores[3])
    assert result.images[3].confidence[1] == 0
    assert {image.sequence for image in result.images} == {'run'}
    assert result.temporal
    assert result.flip == (('left_paw', 'right_paw'),)
    assert {image.size for image in result.images} == {SIZE}


def test_several_instances_in_a_frame(film, tmp_path):
    frames = {
        0: [(points(0), None, 0.4), (points(1), None, 0.9)],
        1: [(points(2), None, 0.9), (points(3), None, None)],
        3: [(points(4), None, None)],
    }
    path = tmp_path / 'two.slp'
    labels(path, film, frames)
    only = SleapReader().read(path)
    assert [skipped.where for skipped in only.skipped] == ['two.slp, frame 0 of run.avi']
    assert 'must have one instance; got 2' in only.skipped[0].reason
    # A person's labels stand for the whole frame.
    np.testing.assert_allclose(only.images[0].keypoints, points(3))
    assert only.images[0].confidence.tolist() == [1, 1, 1]

    best = SleapReader(instance='best').read(path)
    assert [image.frame for image in best.images] == [0, 1, 3]
    np.testing.assert_allclose(best.images[0].keypoints, points(1))
    assert best.temporal

    each = SleapReader(instance='each').read(path)
    assert [image.frame for image in each.images] == [0, 0, 1, 3]
    assert each.images[1].where == 'two.slp, frame 0 of run.avi, instance 1'
    assert not each.temporal
    with pytest.raises(ValueError, match="Did you mean 'best'"):
        SleapReader(instance='bset')


def test_tracks_are_sequences_of_their_own(film, tmp_path):
    frames = {i: [(points(i), 'a', 0.5), (points(i + 9), 'b', 0.6)] for i in range(2)}
    labels(tmp_path / 'two.slp', film, frames, tracks=('a', 'b'))
    result = SleapReader(instance='each').read(tmp_path / 'two.slp')
    assert [image.sequence for image in result.images] == ['run+a', 'run+b'] * 2
    assert result.temporal


def test_an_analysis_file(film, tmp_path):
    frames = {1: [(points(0), 'a', 0.5)], 4: [(points(1), 'a', 0.7)]}
    made = labels(tmp_path / 'a.slp', film, frames, tracks=('a',))
    for preset in ('matlab', 'standard'):
        sleap_io.save_analysis_h5(made, str(tmp_path / 'a.h5'), preset=preset)
        result = check_images(SleapReader().read(tmp_path / 'a.h5'))
        assert [image.frame for image in result.images] == [1, 4]
        np.testing.assert_allclose(result.images[1].keypoints, points(1))
        np.testing.assert_allclose(result.images[1].confidence, 0.7)


def test_a_package_gives_its_own_images(film, tmp_path):
    path = tmp_path / 'run.pkg.slp'
    labels(path, film, {1: [(points(0), None, None)], 4: [(points(1), None, None)]}, embed=True)
    stored = [read_image(image) for image in SleapReader().read(path).images]
    film.unlink()
    result = check_images(SleapReader().read(path))
    assert not result.skipped
    assert [image.where for image in result.images] == [f'run.pkg.slp, frame {i} of run.avi' for i in (1, 4)]
    assert {image.size for image in result.images} == {SIZE}
    for image, (position, pixels) in zip(result.images, read_images(result.images), strict=True):
        # The i-th frame's blue is 20 i.
        assert abs(pixels[..., 2].mean() - 20 * image.frame) < 5
        np.testing.assert_array_equal(pixels, stored[position])
    assert result.temporal


def test_a_list_of_images_is_stills(tmp_path):
    folder = tmp_path / 'day_1'
    folder.mkdir()
    names = [str(folder / f'{i}.png') for i in range(3)]
    for i, name in enumerate(names):
        cv2.imwrite(name, np.full((64 + i, 96, 3), 20 * i, np.uint8))
    labels(tmp_path / 'stills.slp', names, {2: [(points(0), None, None)]})
    result = check_images(SleapReader().read(tmp_path / 'stills.slp'))
    assert result.images[0].image == folder / '2.png'
    assert (result.images[0].size, result.images[0].sequence) == ((96, 66), '')
    assert result.images[0].where == 'stills.slp, frame 2 of day_1'
    assert not result.temporal


def test_videos_are_found_where_they_are_now(film, tmp_path):
    write_slp(tmp_path / 'a.slp', points()[None], NODES, 'D:/elsewhere/run.avi')
    assert SleapReader().read(tmp_path / 'a.slp').images[0].image.video == film
    moved = tmp_path / 'films' / 'elsewhere' / 'run.avi'
    moved.parent.mkdir(parents=True)
    film.rename(moved)
    assert SleapReader(images=tmp_path / 'films').read(tmp_path / 'a.slp').images[0].image.video == moved
    gone = check_images(SleapReader().read(tmp_path / 'a.slp'))
    assert 'the video must exist' in gone.skipped[0].reason


def test_broken_points_and_files_are_reported(film, tmp_path):
    half = points()
    half[1, 0] = np.nan
    labels(tmp_path / 'a.slp', film, {0: [(half, None, None)], 2: [(points(), None, None)]})
    result = SleapReader().read(tmp_path / 'a.slp')
    assert len(result) == 1
    assert "'left_paw' has one" in result.skipped[0].reason

    labels(tmp_path / 'none.slp', film, {})
    with pytest.raises(ValueError, match='must have instances'):
        SleapReader().read(tmp_path / 'none.slp')
    with pytest.raises(FileNotFoundError, match="got a folder. Give one camera's .slp"):
        SleapReader().read(tmp_path)
    with pytest.raises(FileNotFoundError, match='must exist'):
        SleapReader().read(tmp_path / 'gone.slp')
    for name in ('text.slp', 'text.h5'):
        (tmp_path / name).write_text('no labels')
        with pytest.raises(ValueError, match='must be SLEAP labels'):
            SleapReader().read(tmp_path / name)


def test_symmetries_of_the_skeleton_are_the_pairs(film, tmp_path):
    skeleton = sleap_io.Skeleton(list(NODES))
    skeleton.add_symmetry('nose', 'right_paw')
    labels(tmp_path / 'a.slp', film, {0: [(points(), None, None)]}, skeleton=skeleton)
    assert SleapReader().read(tmp_path / 'a.slp').flip == (('nose', 'right_paw'),)


@pytest.mark.real
def test_a_real_view_of_the_mouse(real_data):
    path = real_data / 'mouse_sessions' / 'minimal_session' / 'mid' / 'minimal_mid_proofread.slp'
    result = check_images(build_annotations(dict(type='sleap')).read(path))
    assert (len(result), len(result.skipped)) == (120, 0)
    assert result.images[7].image == VideoFrame(path.with_name('minimal_mid.mp4'), 7)
    assert result.images[0].size == (1280, 1024)
    assert len(result.keypoint_names) == 15
    assert result.temporal
