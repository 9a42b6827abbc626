"""Files of SMILify's own code, made from the mouse session, come out as the session has them."""

import numpy as np
import pytest

from smilfit.cli.data.preprocess import main
from smilfit.datasets import open_dataset
from smilfit.io import SleapSession

pytestmark = pytest.mark.real
# Labels in the file, where the source images were cut (x0, y0), and the stored px a source px.
FILES = {
    'mouse_multiview_224': (2175 - 185, (128, 0), 224 / 1024),
    'mouse_bbox_128': (727 - 62, None, None),
    'mouse_gaps_96': (1297 - 65, (128, 0), 96 / 1024),
    'mouse_merged_128': (2024 - 62 - 65, None, None),
    'mouse_before_march_2026_128': (361 - 31, (128, 0), 128 / 1024),
}


@pytest.fixture(scope='module')
def recorded(real_data) -> SleapSession:
    root = real_data / 'mouse_sessions'
    return SleapSession(
        root / 'minimal_session', joint_lookup=root / 'joint_lookup.csv', confidence_threshold=0.0
    )


def command(real_data, name: str, out, *options: str) -> list[str]:
    model = real_data / 'models' / 'SMILy_Mouse_static_joints.pkl'
    file = real_data / 'smilify_files' / f'{name}.h5'
    if not file.is_file():
        pytest.skip(f'{file} is not here')
    return ['smilify', str(file), str(out), '--body-model', str(model), '--quiet', *options]


@pytest.mark.parametrize('name', FILES)
def test_files_come_out_as_their_session(name, real_data, recorded, tmp_path, capsys):
    wanted = command(real_data, name, tmp_path / 'o.h5')
    if 'before_march' in name:
        assert main([*wanted, '--exclude-cameras', 'side']) == 1
        assert 'must lie on the joints that they are named after' in capsys.readouterr().err
        slp = real_data / 'mouse_sessions' / 'minimal_session' / 'top' / 'minimal_top_proofread.slp'
        lookup = real_data / 'mouse_sessions' / 'joint_lookup.csv'
        wanted += ['--slp', str(slp), '--keypoint-map', str(lookup)]
    assert main(wanted) == 1
    assert "'side' and 'top' are calibrated to the same place" in capsys.readouterr().err
    assert main([*wanted, '--exclude-cameras', 'side']) == 0
    data = open_dataset(tmp_path / 'o.h5')
    n_labels, corner, scale = FILES[name]
    assert data.unit == ('m' if 'merged' in name else 'mm')
    names, metres = data.keypoint_names, 1000.0 if data.unit == 'm' else 1.0
    points = recorded.keypoints3d(names).xyz.double().numpy()
    ideal, _ = recorded.cameras.undistort(recorded.keypoints2d(names).xy.double())
    count = 0
    for session in data.session_names:
        for i in data.samples(session):
            record = data.record(int(i))
            known = record.confidence3d > 0
            assert np.abs(record.keypoints3d * metres - points[record.frame])[known].max() < 2e-4
            for c in np.flatnonzero(record.view_mask):
                source = recorded.camera_names.index(data.camera_names[c])
                K = recorded.cameras.K[source].double().numpy()
                shrink = np.diag(record.K[c])[:2] / np.diag(K)[:2]
                shift = record.K[c][:2, 2] - shrink * K[:2, 2]
                seen = record.confidence2d[c] > 0
                count += int(seen.sum())
                labels = ideal[record.frame, source].numpy() * shrink + shift
                np.testing.assert_allclose(record.keypoints2d[c][seen], labels[seen], atol=2e-3)
                camera = points[record.frame] @ record.R[c].T + record.t[c] * metres
                true = recorded.cameras.R[source].double().numpy(), recorded.cameras.t[source].double()
                valid = points[record.frame] @ true[0].T + true[1].numpy()
                np.testing.assert_allclose(camera, valid, atol=1e-3)
                # The image, not what the file says of it: OpenCV keeps the centres of pixels.
                cut = ((shrink - 1) / 2 - shift) / shrink
                np.testing.assert_allclose(cut, cut.round(), atol=1e-3)
                if corner is not None:
                    np.testing.assert_allclose((*shrink, *cut), (scale, scale, *corner), atol=1e-3)
    assert count == n_labels
    # People click near joints, whichever table named them: a fit finds how far.
    assert set(data.landmarks) >= set(data.keypoint_names)
    assert all(data.landmarks[name].sd > 0 for name in data.keypoint_names)


def test_single_images_come_in_with_cameras_unknown(real_data, tmp_path):
    assert main(command(real_data, 'mouse_singleview_128', tmp_path / 'o.h5')) == 0
    data = open_dataset(tmp_path / 'o.h5')
    assert len(data) == 80
    assert len(data.session_names) == 4
    assert not data.landmarks
    assert not any(data.intrinsics_known(name).any() for name in data.session_names)
    assert sum(int((data.record(i).confidence2d > 0).sum()) for i in range(80)) == 721
