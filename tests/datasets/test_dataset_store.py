"""The dataset file: what goes in comes out; what is damaged, foreign or unfinished says so."""

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch

from smilfit.datasets import (
    DatasetFile,
    EncodedSample,
    SessionHeader,
    StoreHeader,
    StoreWriter,
    open_dataset,
)
from smilfit.datasets.crops import encode_jpeg, encode_png
from smilfit.datasets.store.store_layout import BLOCK
from tests.datasets.blob_session import NAMES, make_body, make_cameras

C, K = 3, 5


def make_header(**changes: object) -> StoreHeader:
    header = StoreHeader(
        body_model_file='four.smil.json',
        body_model_hash=make_body().content_hash(),
        keypoint_names=NAMES,
        joint_names=NAMES[:4],
        n_betas=2,
        camera_names=('left', 'right', 'above'),
        crop_mode='default',
        target_resolution=32,
        undistorted=True,
        confidence_threshold=0.5,
        options={'crop_mode': 'default'},
        sessions=(SessionHeader('one', make_cameras(), 'mm', 50.0, 'somewhere', np.array([0.5, -1.0])),),
        fingerprint='abc',
        with_params=True,
        with_masks=True,
    )
    return replace(header, **changes)


def make_sample(i: int) -> EncodedSample:
    rng = np.random.default_rng(i)
    mask = np.array([True, i % 2 == 0, True])
    image = rng.integers(0, 256, (32, 32, 3), dtype=np.uint8)
    views = [int(c) for c in np.flatnonzero(mask)]
    return EncodedSample(
        session=0,
        frame=3 * i,
        view_mask=mask,
        affine=(rng.normal(size=(C, 2, 3)) + np.eye(2, 3) * 5) * mask[:, None, None],
        keypoints2d=rng.normal(size=(C, K, 2)) * mask[:, None, None],
        confidence2d=rng.random((C, K)).astype(np.float32) * mask[:, None],
        keypoints3d=rng.normal(size=(K, 3)),
        confidence3d=rng.random(K).astype(np.float32),
        images={c: encode_jpeg(image, 95) for c in views},
        masks={c: encode_png(image[..., 0] > 128) for c in views if i % 3},
        params=None
        if i == 5
        else {
            'global_orient': rng.normal(size=3),
            'body_pose': rng.normal(size=(3, 3)),
            'betas': rng.normal(size=2),
            'transl': rng.normal(size=3),
            'scale': np.array(2.0),
        },
    )


def write(path: Path, n: int = 100, **changes: object) -> Path:
    with StoreWriter(path, make_header(**changes)) as writer:
        for i in range(n):
            writer.append(make_sample(i))
        return writer.finish({'totals': {'frames': n}})


def all_data(path: Path) -> dict[str, np.ndarray]:
    result: dict[str, np.ndarray] = {}
    with h5py.File(path, 'r') as file:
        file.visititems(lambda name, x: result.update({name: x[()]}) if isinstance(x, h5py.Dataset) else None)
    return result


def test_round_trip(tmp_path):
    path = write(tmp_path / 'a.h5')
    assert not (tmp_path / 'a.h5.partial').exists()
    assert json.loads((tmp_path / 'a.h5.report.json').read_text()) == {'totals': {'frames': 100}}
    file = open_dataset(path)
    header = make_header()
    assert (file.keypoint_names, file.joint_names, file.camera_names) == (
        NAMES,
        NAMES[:4],
        header.camera_names,
    )
    assert (file.n_samples, file.unit, file.fps('one'), file.n_betas) == (100, 'mm', 50.0, 2)
    assert file.report == {'totals': {'frames': 100}}
    torch.testing.assert_close(file.cameras('one').K, make_cameras().K)
    assert file.cameras('one').dist is None
    np.testing.assert_array_equal(file.known_betas('one'), [0.5, -1.0])
    np.testing.assert_array_equal(file.frame_indices('one'), 3 * np.arange(100))
    for i in (0, 5, 63, 64, 99):
        sample, record = make_sample(i), file.record(i)
        np.testing.assert_array_equal(record.view_mask, sample.view_mask)
        for name in ('keypoints2d', 'confidence2d', 'keypoints3d', 'confidence3d'):
            np.testing.assert_array_equal(getattr(record, name), getattr(sample, name))
        assert (record.params is None) is (i == 5)
        for c, data in sample.images.items():
            np.testing.assert_array_equal(file.image_bytes(i, c), data)
        for name, value in (sample.params or {}).items():
            np.testing.assert_array_equal(record.params[name], value)
        assert (file.mask(i, 'left') is None) is (i % 3 == 0)
        if i % 2:
            assert not record.K[1].any()
            with pytest.raises(KeyError, match="no image of camera 'right'"):
                file.image(i, 'right')
    assert file.true_params('one') is None


def test_original_pixels_come_back(tmp_path):
    file = open_dataset(write(tmp_path / 'a.h5', 10))
    seen = file.keypoints2d('one', ('tip', 'root'))
    record = file.record(4)
    expected = record.keypoints2d[0, 4] @ record.to_original[0, :, :2].T + record.to_original[0, :, 2]
    np.testing.assert_allclose(seen.xy[4, 0, 0].numpy(), expected, atol=1e-9)
    assert seen.cameras.names == file.camera_names
    assert not seen.confidence[1, 1].any()
    with pytest.raises(KeyError, match="Did you mean 'one'"):
        file.cameras('onee')
    with pytest.raises(KeyError, match="Did you mean 'left'"):
        file.image(0, 'lefft')


def test_body_model_must_be_the_same(tmp_path):
    file = open_dataset(write(tmp_path / 'a.h5', 2))
    file.check_body_model(make_body())
    other = replace(make_body(), joints=make_body().joints + 1)
    with pytest.raises(ValueError, match=r'must be the one of the dataset, four\.smil\.json'):
        file.check_body_model(other)


def test_a_model_without_shape_space(tmp_path):
    header = {'n_betas': 0, 'sessions': (SessionHeader('one', make_cameras()),)}
    with StoreWriter(tmp_path / 'a.h5', make_header(**header)) as writer:
        sample = make_sample(1)
        writer.append(replace(sample, params=sample.params | {'betas': np.zeros(0)}))
        writer.finish({})
    params = open_dataset(tmp_path / 'a.h5').true_params('one')
    assert params.betas.shape == (1, 0)
    assert open_dataset(tmp_path / 'a.h5').unit is None


@pytest.mark.parametrize('n', [0, 1, BLOCK - 1, BLOCK, BLOCK + 40])
def test_resume_gives_the_file_of_one_go(tmp_path, n):
    whole = write(tmp_path / 'whole.h5')
    with StoreWriter(tmp_path / 'b.h5', make_header()) as writer:
        for i in range(n):
            writer.append(make_sample(i))
    with pytest.raises(FileNotFoundError, match=r'b\.h5\.partial is unfinished'):
        open_dataset(tmp_path / 'b.h5')
    with StoreWriter(tmp_path / 'b.h5', make_header()) as writer:
        assert writer.n_complete == n // BLOCK * BLOCK
        for i in range(writer.n_complete, 100):
            writer.append(make_sample(i))
        writer.finish({'totals': {'frames': 100}})
    one, two = all_data(whole), all_data(tmp_path / 'b.h5')
    assert one.keys() == two.keys()
    for name, value in one.items():
        np.testing.assert_array_equal(value, two[name], err_msg=name)


def test_a_killed_writer_loses_no_whole_block(tmp_path):
    code = (
        'import os, sys; sys.path.insert(0, sys.argv[2])\n'
        'from tests.datasets.test_dataset_store import *\n'
        'writer = StoreWriter(sys.argv[1], make_header())\n'
        'for i in range(80): writer.append(make_sample(i))\n'
        "writer._buffer and writer._file['samples/frame'].resize(90, axis=0)\n"
        'os._exit(9)\n'
    )
    path = tmp_path / 'a.h5'
    root = str(Path(__file__).parents[2])
    done = subprocess.run([sys.executable, '-c', code, str(path), root], env=dict(os.environ))
    assert done.returncode == 9
    with StoreWriter(path, make_header()) as writer:
        assert writer.n_complete == BLOCK
        for i in range(BLOCK, 100):
            writer.append(make_sample(i))
        writer.finish({'totals': {'frames': 100}})
    one, two = all_data(write(tmp_path / 'whole.h5')), all_data(path)
    for name, value in one.items():
        np.testing.assert_array_equal(value, two[name], err_msg=name)


def test_other_inputs_do_not_continue_a_partial_file(tmp_path):
    StoreWriter(tmp_path / 'a.h5', make_header()).close()
    with pytest.raises(ValueError, match='must come from the same sessions and options'):
        StoreWriter(tmp_path / 'a.h5', make_header(fingerprint='other'))
    with StoreWriter(tmp_path / 'a.h5', make_header(fingerprint='other'), restart=True) as writer:
        assert writer.n_complete == 0


@pytest.mark.parametrize(
    'damage', [lambda data: b'nothing', lambda data: b'', lambda data: data[: len(data) // 2]]
)
def test_a_damaged_partial_file_is_begun_anew_and_reported(tmp_path, damage, caplog):
    with StoreWriter(tmp_path / 'a.h5', make_header()) as writer:
        for i in range(BLOCK):
            writer.append(make_sample(i))
    partial = tmp_path / 'a.h5.partial'
    partial.write_bytes(damage(partial.read_bytes()))
    with StoreWriter(tmp_path / 'a.h5', make_header()) as writer:
        assert writer.n_complete == 0
    assert 'a.h5.partial: is damaged' in caplog.text


@pytest.mark.parametrize('share', [0.0, 0.1, 0.5, 0.99])
def test_cut_short(tmp_path, share):
    path = write(tmp_path / 'a.h5')
    data = path.read_bytes()
    path.write_bytes(data[: int(share * len(data))])
    with pytest.raises(ValueError, match='must be a whole HDF5 file'):
        open_dataset(path)


def test_foreign_newer_and_unfinished_files(tmp_path):
    path = write(tmp_path / 'a.h5', 2)
    for key, value, message in (
        ('complete', False, 'must be complete'),
        ('version', 99, 'must be at most 4; got 99. Update smilfit'),
        ('format', 'other', "must state format 'smilfit-dataset'"),
    ):
        with h5py.File(path, 'r+') as file:
            file.attrs[key] = value
        with pytest.raises(ValueError, match=message):
            open_dataset(path)
    with pytest.raises(FileNotFoundError, match='there is no such file'):
        open_dataset(tmp_path / 'b.h5')


def _flip(path: Path, needle: bytes) -> None:
    data = bytearray(path.read_bytes())
    at = bytes(data).index(needle) + len(needle) // 2
    data[at] ^= 0x10
    path.write_bytes(data)


def test_one_flipped_byte_is_found(tmp_path):
    path = write(tmp_path / 'a.h5', 20)
    _flip(path, make_sample(7).images[0].tobytes())
    with pytest.raises(OSError, match=r'images/jpeg must pass its checksum'):
        open_dataset(path).image(7, 0)
    path = write(tmp_path / 'b.h5', 20)
    _flip(path, make_sample(7).keypoints3d.tobytes())
    with pytest.raises(OSError, match=r'samples/keypoints3d must pass its checksum'):
        open_dataset(path).record(3)


def test_handles_are_not_shared(tmp_path):
    import pickle

    file = DatasetFile(write(tmp_path / 'a.h5', 4))
    file.image(0, 0)
    handle = file._handle
    assert handle() is handle()
    copy = pickle.loads(pickle.dumps(file))
    assert copy._handle._file is None
    np.testing.assert_array_equal(copy.image(0, 0), file.image(0, 0))
    handle._pid = -5  # as after a fork
    before = handle._file
    np.testing.assert_array_equal(copy.image(1, 0), file.image(1, 0))
    assert handle._file is not before


@pytest.mark.parametrize('name', ['../../X', '/abs', '', '.', 'a/../b', 'a\\b'])
def test_a_session_that_leads_out_of_a_folder_is_not_written(name):
    with pytest.raises(ValueError, match='the name of a session must name a folder inside another'):
        SessionHeader(name, make_cameras())
    assert SessionHeader('trial (2)/left cam', make_cameras()).name == 'trial (2)/left cam'


@pytest.mark.parametrize(
    ('field', 'factor'), [('K', -1.0), ('R', 2.0), ('t', np.nan), ('size', 0.0), ('dist', np.nan)]
)
def test_cameras_that_see_nothing_are_not_written(field, factor):
    cameras = make_cameras()
    with pytest.raises(ValueError, match=rf'one: {field} of its cameras must .* Correct the calibration'):
        SessionHeader('one', replace(cameras, fold=cameras.fold, **{field: getattr(cameras, field) * factor}))


def test_sessions_are_read_in_the_order_of_their_numbers(tmp_path):
    sessions = tuple(SessionHeader(f's{i}', make_cameras()) for i in range(3))
    with StoreWriter(tmp_path / 'a.h5', make_header(sessions=sessions)) as writer:
        for i in range(3):
            writer.append(replace(make_sample(i), session=i))
        writer.finish({})
    file = open_dataset(tmp_path / 'a.h5')
    assert file.session_names == ('s0', 's1', 's2')
    assert [file.samples(name).tolist() for name in file.session_names] == [[0], [1], [2]]
    with pytest.raises(IndexError, match=r'samples go from 0 to 2; got 3'):
        file.image(3, 0)
