"""Cameras that stop a few frames apart are trimmed and told; more is refused, or trimmed when asked."""

import numpy as np
import pytest

from smilfit.io import SleapSession, write_points3d, write_slp
from tests.io.conftest import NODES


@pytest.fixture
def longer(tiny, write_video):
    """The same with 40 frames, of which `mid` lost the last."""
    xy, xyz = (np.concatenate([a] * 7)[:40] for a in (tiny.xy, tiny.xyz))
    for c, name in enumerate(tiny.cameras.names):
        video = write_video(tiny.folder / name / f'{name}.avi', n_frames=39 if name == 'mid' else 40, shade=5)
        write_slp(tiny.folder / name / f'{name}.slp', xy[:, c], NODES, video, np.full((40, 4), 0.9))
    write_points3d(tiny.folder / 'points3d.h5', xyz)
    return tiny.folder, xy


def test_a_frame_more_or_less_is_trimmed_and_told(longer, caplog):
    folder, xy = longer
    session = SleapSession(folder)
    assert session.n_frames == 39
    np.testing.assert_array_equal(session.keypoints2d().xy.numpy(), xy[:39])
    assert len(session.keypoints3d().xyz) == 39
    assert [i for i, _ in session.frames([38])] == [38]
    assert (
        'videos differ in frames (left: 40, mid: 39, right: 40); the first 39 of each are used' in caplog.text
    )


def test_many_frames_less_are_refused_unless_asked(longer, write_video):
    folder, _ = longer
    write_video(folder / 'mid' / 'mid.avi', n_frames=30, shade=5)
    with pytest.raises(ValueError, match=r"equally many frames .*'mid': 30.*--trim"):
        SleapSession(folder)
    assert SleapSession(folder, trim=True).n_frames == 30
