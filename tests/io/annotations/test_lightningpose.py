import numpy as np
import pytest

from smilfit.registry import build_annotations
from tests.io.annotations.pose_writers import columns_of, write_csv

PARTS = ('nose', 'tail')


def _read(path, **options):
    return build_annotations({'type': 'lightningpose', **options}).read(path)


def test_labels_of_several_views(tmp_path):
    for view in ('top', 'side'):
        rows = [(f'labeled-data/vid_{view}/img0042.png',)]
        write_csv(tmp_path / f'CollectedData_{view}.csv', columns_of(PARTS), rows, np.arange(4.0)[None])
    result = _read(tmp_path)
    assert [image.sequence for image in result.images] == ['vid_side', 'vid_top']
    assert result.images[1].image == tmp_path / 'labeled-data/vid_top/img0042.png'
    assert result.images[1].frame == 42


def test_predictions_with_the_set_and_ensemble_columns(tmp_path):
    coords = ('x', 'y', 'likelihood', 'x_ens_var', 'y_ens_var')
    path = write_csv(
        tmp_path / 'predictions.csv',
        columns_of(PARTS, coords=coords, scorer='heatmap_tracker'),
        [('labeled-data/vid/img1.png',)],
        np.array([[1, 2, 0.5, 9, 9, 3, 4, 0.25, 9, 9]]),
    )
    head, *rows = path.read_text().splitlines()
    path.write_text('\n'.join([head + ',set', rows[0] + ',', rows[1] + ',', rows[2] + ',train']))
    (image,) = _read(path).images
    np.testing.assert_array_equal(image.keypoints, [[1, 2], [3, 4]])
    np.testing.assert_array_equal(image.confidence, [0.5, 0.25])


def test_predictions_of_a_video_elsewhere(tmp_path):
    coords = ('x', 'y', 'likelihood')
    path = write_csv(
        tmp_path / 'a/cage.csv', columns_of(PARTS, coords=coords), [('0',)], np.full((1, 6), 0.5)
    )
    (tmp_path / 'videos').mkdir()
    (tmp_path / 'videos/cage.mp4').touch()
    result = _read(path, video=tmp_path / 'videos')
    assert result.temporal
    assert result.images[0].image.video == tmp_path / 'videos/cage.mp4'


def test_what_lightning_pose_never_writes(tmp_path):
    path = write_csv(tmp_path / 'a.csv', columns_of(PARTS, ['m1']), [('img1.png',)], np.ones((1, 4)))
    with pytest.raises(ValueError, match=r"must be of one animal.*format 'dlc'"):
        _read(path)
    path.with_suffix('.h5').touch()
    with pytest.raises(ValueError, match=r"must be csv.*format 'dlc'"):
        _read(path.with_suffix('.h5'))
