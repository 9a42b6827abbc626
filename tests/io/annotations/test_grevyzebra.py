import numpy as np
import pytest
import scipy.io

from smilfit.io.annotations.grevyzebra import FLIP, KEYPOINTS
from smilfit.registry import build_annotations

RNG = np.random.default_rng(0)
XY = RNG.uniform(1, 60, (28, 2))
INVISIBLE = RNG.random(28) < 0.3


def _write(folder, name, xy=XY):
    annotation = {
        'kp': xy,
        'invisible': INVISIBLE.astype(np.uint8),
        'names': np.array(['a'] * 28, dtype=object),
    }
    scipy.io.savemat(folder / f'{name}_ferrari-tail-face.mat', {'annotation': annotation})


def _read(path, **options):
    return build_annotations({'type': 'grevyzebra', **options}).read(path)


def test_images_with_28_keypoints(tmp_path):
    _write(tmp_path, 'img_1')
    _write(tmp_path, 'img_2', XY[:19])
    (tmp_path / 'img_1.png').touch()
    result = _read(tmp_path, masks=tmp_path / 'bgsub')
    (image,) = result.images
    assert image.image == tmp_path / 'img_1.png'
    assert image.mask.path == tmp_path / 'bgsub/img_1.png'
    np.testing.assert_array_equal(image.confidence, ~INVISIBLE)
    np.testing.assert_allclose(image.keypoints[~INVISIBLE], XY[~INVISIBLE] - 1)
    assert 'kp (28 x 2) and invisible (28); got (19, 2) and 28' in result.skipped[0].reason
    assert _read(tmp_path / 'img_1_ferrari-tail-face.mat', first_pixel=0).images[0].mask is None


def test_the_mirror_is_the_published_one():
    order = [1, 0, 2, 4, 3, 6, 5, 7, 9, 8, 11, 10, 13, 12, 15, 14, 17, 16]
    order += [18, 19, 21, 20, 23, 22, 25, 24, 27, 26]
    exchanged = {**dict(FLIP), **{right: left for left, right in FLIP}}
    assert [KEYPOINTS.index(exchanged.get(name, name)) for name in KEYPOINTS] == order


def test_no_annotations(tmp_path):
    with pytest.raises(FileNotFoundError, match='_ferrari-tail-face.mat'):
        _read(tmp_path)
