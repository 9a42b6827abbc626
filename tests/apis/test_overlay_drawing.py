"""How overlays of recordings are dealt out and chosen, and what they show where a video breaks off."""

import pytest

from smilfit.apis.fit_options import VideoChoice
from smilfit.apis.fitting.fit_overlays import LEAST_FRAMES, camera_groups, usual_workers


@pytest.mark.parametrize('workers', [1, 2, 3, 9])
def test_each_camera_is_drawn_by_one_process_and_the_first_has_the_fewest(workers):
    groups = camera_groups(5, workers)
    assert sorted(c for group in groups for c in group) == list(range(5))
    assert len(groups) == min(workers, 5)
    assert len(groups[0]) == min(map(len, groups))
    assert max(map(len, groups)) - min(map(len, groups)) <= 1


def test_few_frames_are_drawn_by_one_process():
    assert usual_workers(8, LEAST_FRAMES - 1) == 1
    assert 1 <= usual_workers(2, LEAST_FRAMES) <= 2


def test_rows_are_chosen_by_the_recordings_numbers():
    frames = [10, 12, 14, 16, 18]
    assert VideoChoice().rows('s', frames) == [0, 1, 2, 3, 4]
    assert VideoChoice(2).rows('s', frames) == [0, 2, 4]
    assert VideoChoice(2, 12, 18).rows('s', frames) == [1, 3]
    assert VideoChoice(1, None, 11).rows('s', frames) == [0]
    assert VideoChoice().record() == {}
    assert VideoChoice(3, 5).record() == {'video_every': 3, 'video_start': 5}
    with pytest.raises(ValueError, match='s must have frames in 19:; its frames go from 10 to 18'):
        VideoChoice(1, 19).rows('s', frames)
    for wrong in ({'every': 0}, {'start': -1}, {'start': 4, 'stop': 4}):
        with pytest.raises(ValueError, match='--video-'):
            VideoChoice(**wrong)
