"""AniMer's network on images: every file of an image's folder has its shape, on a body of SMAL's size."""

import numpy as np
import pytest
import torch

from smilfit.apis import describe_images
from smilfit.body_models import BodyModelData, SparseMatrix, save_body_model
from smilfit.body_models.files.smal_parts import with_smal_parts
from smilfit.cli.main import main
from smilfit.drawing.video import write_image
from smilfit.networks.animer.checkpoint import convert_animer_checkpoint
from tests.body_models.test_smal import N_BETAS as S
from tests.body_models.test_smal import N_JOINTS as J
from tests.body_models.test_smal import N_VERTICES as V
from tests.body_models.test_smal import PARENTS
from tests.networks.animer_files import SMALL, ruled_state


@pytest.fixture(scope='module')
def made(tmp_path_factory):
    """A small network by AniMer's names, a body of SMAL's size, and two images."""
    folder, rng = tmp_path_factory.mktemp('animer'), np.random.default_rng(0)
    torch.save({'state_dict': ruled_state(SMALL)}, folder / 'checkpoint.ckpt')
    convert_animer_checkpoint(folder / 'checkpoint.ckpt', folder / 'animer.pth', heads=4)
    weights = np.zeros((V, J))
    weights[np.arange(V), np.arange(V) % J] = 1
    vertices, regressor = rng.normal(0, 0.3, (V, 3)), weights.T / weights.sum(0)[:, None]
    data = BodyModelData(
        name='smal',
        v_template=vertices,
        faces=rng.integers(0, V, (60, 3)),
        parents=np.array(PARENTS),
        joint_names=tuple(f'joint_{j}' for j in range(J)),
        weights=SparseMatrix.from_dense(weights),
        joints=regressor @ vertices,
        joint_regressor=SparseMatrix.from_dense(regressor),
        shapedirs=0.01 * rng.normal(size=(V, 3, S)),
    )
    save_body_model(with_smal_parts(data), folder / 'smal.smil.json')
    (folder / 'images').mkdir()
    for name, size in (('first', (120, 160)), ('second', (200, 90))):
        write_image(folder / 'images' / f'{name}.png', rng.integers(0, 255, (*size, 3)).astype(np.uint8))
    return folder


def test_every_file_has_its_shape(made, tmp_path, capsys):
    given = ['--body-model', str(made / 'smal.smil.json'), '--out', str(tmp_path / 'out'), '--device', 'cpu']
    (made / 'boxes.csv').write_text(
        'frame,camera,x,y,width,height\n0,camera,10,20,80,60\n1,camera,0,0,90,90\n'
    )
    boxes = ['--boxes', str(made / 'boxes.csv')]
    assert main(['infer', str(made / 'animer.pth'), str(made / 'images'), '--features', *given, *boxes]) == 0
    assert '2 images described' in capsys.readouterr().out
    shapes = {
        'vertices': (V, 3), 'keypoints3d': (26, 3), 'betas': (S,), 'pose': (J, 3, 3), 'cam': (3,),
        'visual_features': (SMALL['dim'],),
    }  # fmt: skip
    for name in ('first', 'second'):
        folder = tmp_path / 'out' / name
        for what, shape in shapes.items():
            value = np.load(folder / f'{what}.npy', allow_pickle=False)
            assert value.shape == shape, what
            assert np.isfinite(value).all(), what
        assert (folder / 'mesh.obj').stat().st_size > 1000
        assert (folder / 'overlay.jpg').is_file()
        # Keypoints are means of vertices: AniMer's second eye, by its list.
        vertices, points = np.load(folder / 'vertices.npy'), np.load(folder / 'keypoints3d.npy')
        np.testing.assert_allclose(points[1], vertices[[2660, 3030, 2675, 3038]].mean(0), atol=1e-5)
        pose = np.load(folder / 'pose.npy')
        np.testing.assert_allclose(pose @ pose.transpose(0, 2, 1), np.tile(np.eye(3), (J, 1, 1)), atol=1e-5)
        # The body stands before the camera.
        assert np.load(folder / 'cam.npy')[0] * vertices[:, 2].mean() > 0
    # Other images, other numbers.
    assert not np.allclose(*(np.load(tmp_path / 'out' / n / 'betas.npy') for n in ('first', 'second')))


def test_what_cannot_be_described_is_named(made, tmp_path):
    given = {'body_model': made / 'smal.smil.json', 'device': 'cpu'}
    with pytest.raises(ValueError, match='must have the 35 joints and 41 shape coefficients of the network'):
        describe_images(made / 'animer.pth', made / 'images', tmp_path / 'a', 'quadruped', device='cpu')
    with pytest.raises(FileNotFoundError, match='there must be an image'):
        describe_images(made / 'animer.pth', made / 'nothing', tmp_path / 'a', **given)
    twins = tmp_path / 'twins'
    twins.mkdir()
    for name in ('a.png', 'a.jpg'):
        write_image(twins / name, np.zeros((40, 40, 3), np.uint8))
    done = describe_images(made / 'animer.pth', twins, tmp_path / 'd', **given)
    assert sorted(folder.name for folder in done.folders) == ['a_jpg', 'a_png']
    (tmp_path / 'images').mkdir()
    (tmp_path / 'images' / 'broken.png').write_bytes(b'no image')
    done = describe_images(made / 'animer.pth', tmp_path / 'images', tmp_path / 'b', **given)
    assert not done.folders
    assert 'does not decode' in done.left_out['broken.png']
    assert main(['infer', str(made / 'animer.pth'), '--features', '--out', str(tmp_path / 'c')]) == 1
