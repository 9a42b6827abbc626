import h5py
import numpy as np
import pytest
import sleap_io

from smilfit.io import read_labels, write_slp

NODES = ('nose', 'neck', 'tail')


def _points(n_frames=5):
    xy = np.random.default_rng(0).uniform(0, 60, size=(n_frames, 3, 2))
    xy[1, 2] = np.nan
    return xy


def _analysis(path, tracks, scores=None):
    with h5py.File(path, 'w') as file:
        file['tracks'] = tracks
        file['node_names'] = np.array([n.encode() for n in NODES])
        if scores is not None:
            file['point_scores'] = scores
    return path


def _labels(path, frames):
    """Write instances given as (frame, points, track or None, score or None for a person's)."""
    skeleton, video = sleap_io.Skeleton(list(NODES)), sleap_io.Video(filename='v.mp4', open_backend=False)
    tracks: dict[str, sleap_io.Track] = {}
    by_frame: dict[int, list[sleap_io.Instance]] = {}
    for frame, points, track, score in frames:
        owner = None if track is None else tracks.setdefault(track, sleap_io.Track(track))
        if score is None:
            instance = sleap_io.Instance.from_numpy(points, skeleton=skeleton, track=owner)
        else:
            instance = sleap_io.PredictedInstance.from_numpy(
                points, skeleton=skeleton, point_scores=np.full(3, score), score=score, track=owner
            )
        by_frame.setdefault(frame, []).append(instance)
    labeled = [
        sleap_io.LabeledFrame(video=video, frame_idx=i, instances=result) for i, result in by_frame.items()
    ]
    labels = sleap_io.Labels(labeled, videos=[video], skeletons=[skeleton], tracks=list(tracks.values()))
    sleap_io.save_slp(labels, str(path), embed=False, verbose=False)
    return path


def test_predicted_labels_round_trip(tmp_path):
    scores = np.random.default_rng(1).uniform(0.1, 1, size=(5, 3))
    labels = read_labels(write_slp(tmp_path / 'a.slp', _points(), NODES, 'v.mp4', scores))
    assert labels.node_names == NODES
    np.testing.assert_array_equal(labels.xy, _points())
    np.testing.assert_allclose(labels.score, scores)
    assert labels.labelled.all()
    assert labels.skipped_instances == 0


def test_a_persons_labels_have_confidence_one(tmp_path):
    labels = read_labels(write_slp(tmp_path / 'a.slp', _points(), NODES, 'v.mp4'))
    np.testing.assert_array_equal(labels.xy, _points())
    assert (labels.score == 1).all()


def test_frames_without_labels_are_missing(tmp_path):
    xy = _points()
    xy[[0, 2]] = np.nan
    labels = read_labels(write_slp(tmp_path / 'a.slp', xy, NODES, 'v.mp4'))
    assert labels.labelled.tolist() == [False, True, False, True, True]
    np.testing.assert_array_equal(labels.xy, xy)


def test_the_track_with_most_points_is_kept(tmp_path):
    xy = _points()
    few = [(i, xy[i] + 100, 'other', 0.99) for i in (0, 3)]
    many = [(i, xy[i], 'main', 0.5) for i in range(5)]
    labels = read_labels(_labels(tmp_path / 'a.slp', few + many))
    np.testing.assert_array_equal(labels.xy, xy)
    assert labels.skipped_instances == 2


def test_without_tracks_a_person_goes_before_the_best_score(tmp_path):
    xy = _points(3)
    frames = [
        (0, xy[0] + 50, None, 0.3),
        (0, xy[0], None, 0.8),
        (1, xy[1] + 50, None, 0.9),
        (1, xy[1], None, None),
        (2, xy[2], None, 0.4),
    ]
    labels = read_labels(_labels(tmp_path / 'a.slp', frames))
    np.testing.assert_array_equal(labels.xy, xy)
    assert labels.skipped_instances == 2


def test_a_persons_correction_without_a_track_replaces_the_prediction_it_was_made_from(tmp_path):
    skeleton, video = sleap_io.Skeleton(list(NODES)), sleap_io.Video(filename='v.mp4', open_backend=False)
    track, xy = sleap_io.Track('a'), _points()
    frames = []
    for i, points in enumerate(xy):
        made = sleap_io.PredictedInstance.from_numpy(
            points + 5, skeleton=skeleton, point_scores=np.full(3, 0.3), score=0.3, track=track
        )
        result = [made]
        if i == 3:
            result.append(sleap_io.Instance.from_numpy(points, skeleton=skeleton, from_predicted=made))
        frames.append(sleap_io.LabeledFrame(video=video, frame_idx=i, instances=result))
    labels = sleap_io.Labels(frames, videos=[video], skeletons=[skeleton], tracks=[track])
    sleap_io.save_slp(labels, str(tmp_path / 'a.slp'), embed=False, verbose=False)
    read = read_labels(tmp_path / 'a.slp')
    np.testing.assert_array_equal(read.xy[3], xy[3])
    assert read.score[3].tolist() == [1, 1, 1]
    np.testing.assert_array_equal(read.xy[2], xy[2] + 5)
    assert read.score[2].tolist() == [0.3, 0.3, 0.3]


def test_analysis_file(tmp_path):
    xy = _points()
    tracks = np.full((2, 2, 3, 5), np.nan)
    tracks[1] = xy.transpose(2, 1, 0)
    tracks[0, :, :, 4] = 7
    scores = np.full((2, 3, 5), 0.6)
    scores[1, :, 2] = np.nan
    labels = read_labels(_analysis(tmp_path / 'a.analysis.h5', tracks, scores))
    np.testing.assert_array_equal(labels.xy, xy)
    assert labels.node_names == NODES
    assert labels.score[2].tolist() == [1, 1, 1]
    assert labels.score[3].tolist() == [0.6, 0.6, 0.6]
    assert labels.skipped_instances == 1


def test_analysis_file_of_sleap_io_reads_the_same_as_its_slp(tmp_path):
    path = write_slp(tmp_path / 'a.slp', _points(), NODES, 'v.mp4', np.full((5, 3), 0.7))
    labels = sleap_io.load_slp(str(path), open_videos=False)
    sleap_io.save_analysis_h5(labels, str(tmp_path / 'a.h5'))
    slp, analysis = read_labels(path), read_labels(tmp_path / 'a.h5')
    np.testing.assert_allclose(analysis.xy, slp.xy)
    seen = np.isfinite(slp.xy[..., 0])
    np.testing.assert_allclose(analysis.score[seen], slp.score[seen])
    assert analysis.node_names == slp.node_names


@pytest.mark.parametrize('scores', [None, np.full((5, 3), 0.9)])
def test_half_a_point_is_an_error_naming_file_frame_and_node(tmp_path, scores):
    xy = _points()
    xy[3, 1, 1] = np.nan
    path = write_slp(tmp_path / 'a.slp', xy, NODES, 'v.mp4', scores)
    with pytest.raises(ValueError, match=r"a.slp: .* for 'neck' in frame 3"):
        read_labels(path)
    path = _analysis(tmp_path / 'a.h5', xy.transpose(2, 1, 0)[None])
    with pytest.raises(ValueError, match=r"a.h5: .* for 'neck' in frame 3"):
        read_labels(path)


def test_files_without_labels_are_errors(tmp_path):
    with pytest.raises(ValueError, match=r'labels must have instances; got none'):
        read_labels(_labels(tmp_path / 'a.slp', []))
    with pytest.raises(ValueError, match=r'labels must have points; got none'):
        read_labels(_analysis(tmp_path / 'a.h5', np.full((1, 2, 3, 5), np.nan)))
    with pytest.raises(FileNotFoundError, match=r'the labels must exist'):
        read_labels(tmp_path / 'none.slp')


def test_other_files_are_errors(tmp_path):
    (tmp_path / 'a.slp').write_bytes(b'no labels')
    with pytest.raises(ValueError, match=r'the file must be SLEAP labels'):
        read_labels(tmp_path / 'a.slp')
    with pytest.raises(ValueError, match=r'tracks must be \(tracks, 2, 3 nodes, frames\)'):
        read_labels(_analysis(tmp_path / 'a.h5', np.zeros((5, 3, 2, 1))))
    with h5py.File(tmp_path / 'b.h5', 'w') as file:
        file['x'] = 1
    with pytest.raises(ValueError, match=r"must have tracks and node_names; got .'x'."):
        read_labels(tmp_path / 'b.h5')
