"""`smilfit export`: the file gives torch's numbers, for any batch, and is not kept where it does not."""

import json
import sys
from importlib.util import find_spec

import numpy as np
import pytest
import torch

from smilfit.apis import export
from smilfit.cli.main import main
from smilfit.files import BadFileError
from smilfit.networks.engine import build_train_runner, load_trained_regressor
from smilfit.networks.exported_networks import Port
from smilfit.networks.tasks.onnx_export import compared
from smilfit.networks.tasks.onnx_network import try_network, use_exported
from tests.commands import run
from tests.toy_experiment import experiment, keypoint_model

WANTED = ('onnx', 'onnxscript', 'onnxruntime')
needs_onnx = pytest.mark.skipif(
    any(find_spec(name) is None for name in WANTED), reason="needs pip install 'smilfit[onnx]'"
)


@pytest.fixture(scope='module')
def multiview(tmp_path_factory):
    """A checkpoint of a multi-view regressor of few layers: torch's exporter takes long for each."""
    folder = tmp_path_factory.mktemp('multiview')
    cfg = experiment(folder, **{'train_cfg.max_epochs': 1})
    cfg.model.backbone = {'type': 'SmallUNet', 'widths': (8, 8), 'fine_dim': 8}
    cfg.model.head.n_iters = 1
    build_train_runner(cfg, device='cpu').train()
    return folder / 'work' / 'epoch_1.pth'


@needs_onnx
def test_a_multi_view_network_takes_any_batch_and_number_of_views(multiview, tmp_path):
    import onnxruntime

    out = tmp_path / 'toy.onnx'
    # In a process of its own: torch's tracing does not see through type checks.
    shown = run('tools/export.py', multiview, out, '--side', '64', '--batch-sizes', '1', '2')
    assert 'rotations         batch x 5 x 3 x 3' in shown
    assert 'TOO FAR' not in shown
    about = json.loads(out.with_suffix('.json').read_text())
    assert about['model'] == 'MultiViewRegressor'
    assert about['scene_frame']['scene_unit'] > 0
    assert {row['data'] for row in about['parity']['rows']} == {'random'}
    session = onnxruntime.InferenceSession(out, providers=['CPUExecutionProvider'])
    lengths = {'batch': 3, 'views': 2}
    given = {
        port['name']: np.ones([lengths.get(n, n) for n in port['shape']], port['dtype'])
        for port in about['inputs']
    }
    for port, result in zip(about['outputs'], session.run(None, given)):
        assert result.shape == tuple(lengths.get(n, n) for n in port['shape'])


@needs_onnx
def test_a_file_takes_the_networks_place(keypoints, tmp_path):
    out = tmp_path / 'toy.onnx'
    run('tools/export.py', keypoints, out, '--batch-sizes', '2')
    images = torch.rand(3, 3, 32, 32)
    own, other = load_trained_regressor(keypoints), load_trained_regressor(keypoints)
    torch.nn.init.zeros_(other.model.vision.head.out.weight)
    use_exported(other, out)
    with torch.no_grad():
        result, expected = (one.model.vision.logits(images) for one in (other, own))
    torch.testing.assert_close(result, expected, atol=1e-4, rtol=1e-4)
    about = out.with_suffix('.json')
    about.write_text(about.read_text().replace('"side_px": 32', '"side_px": 64'))
    with pytest.raises(ValueError, match='for images of 32 px'):
        use_exported(own, out)
    about.write_text('{}')
    with pytest.raises(BadFileError, match='must be of smilfit export'):
        use_exported(own, out)


@needs_onnx
def test_only_heat_maps_are_found_by_a_file(multiview, tmp_path):
    with pytest.raises(ValueError, match='must be a KeypointRegressor'):
        use_exported(load_trained_regressor(multiview), tmp_path / 'toy.onnx')


@needs_onnx
def test_a_file_that_is_too_far_from_torch_is_not_kept(keypoints, tmp_path):
    out = tmp_path / 'toy.onnx'
    shown = run('tools/export.py', keypoints, out, '--tolerance', '1e-12', '--batch-sizes', '3', code=1)
    assert 'logits            batch x 5 x 16 x 16' in shown
    assert 'TOO FAR' in shown
    assert 'nothing is written' in shown
    assert [path for path in tmp_path.rglob('*') if path.is_file()] == []
    # What is there is not replaced unasked.
    out.write_text('mine')
    assert '--force' in run('tools/export.py', keypoints, out, code=1)


@pytest.fixture(scope='module')
def keypoints(tmp_path_factory):
    """A checkpoint of a keypoint regressor, trained for a moment."""
    folder = tmp_path_factory.mktemp('keypoints')
    cfg = experiment(folder, **{'train_cfg.max_epochs': 1, 'custom_hooks': []})
    cfg.model = keypoint_model(cfg.model.body_model)
    build_train_runner(cfg, device='cpu').train()
    return folder / 'work' / 'epoch_1.pth'


def test_what_is_missing_is_named_with_the_command(monkeypatch, capsys, tmp_path):
    monkeypatch.setitem(sys.modules, 'onnxscript', None)
    assert main(['export', str(tmp_path / 'a.pth'), str(tmp_path / 'a.onnx')]) == 1
    assert "missing: onnxscript. Give: pip install 'smilfit[onnx]'" in capsys.readouterr().err


def test_outputs_that_are_in_the_way(tmp_path):
    with pytest.raises(ValueError, match='must end in .onnx'):
        export('a.pth', tmp_path / 'a.pt')


def test_a_peak_elsewhere_counts_unless_it_is_a_tie():
    port = Port('logits', ('batch', 1, 1, 3), 'maps', maps=True)
    right = torch.tensor([[[[1.0, 3.0, 2.9999]]], [[[0.0, 5.0, 1.0]]]])
    result = torch.tensor([[[[1.0, 2.9999, 3.0]]], [[[5.0, 5.0, 1.0]]]])
    tie, wrong = (compared(port, 'random', {'batch': 1}, right[i : i + 1], result[i : i + 1]) for i in (0, 1))
    assert (tie.n_maps, tie.n_equal, tie.within(1e-3)) == (1, 0, True)
    assert (wrong.lost, wrong.within(10.0), wrong.within(1.0)) == (5.0, True, False)
    assert not compared(port, 'random', {}, right[:1], torch.full((1, 1, 1, 3), torch.nan)).within(1.0)
    with pytest.raises(ValueError, match='must have the shape'):
        compared(port, 'random', {'batch': 1}, right, result[:1])


def _computing(*nodes):
    """Write an ONNX model of an input `x` and an output `y`."""
    from onnx import TensorProto, helper

    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in ('x', 'y')]
    graph = helper.make_graph(
        [helper.make_node(*node[:-1], **node[-1]) for node in nodes], 'g', *[[e] for e in ends]
    )
    return helper.make_model(
        graph, opset_imports=[helper.make_opsetid('', 17)], ir_version=8
    ).SerializeToString()


def test_networks_that_would_stop_the_machine_are_refused(tmp_path):
    from onnx import TensorProto, helper

    sizes = helper.make_tensor('s', TensorProto.INT64, [2], [1 << 17, 1 << 17])
    filled = ('Constant', [], ['s'], {'value': sizes}), ('ConstantOfShape', ['s'], ['c'], {})
    outside = helper.make_tensor('s', TensorProto.FLOAT, [1], [1.0])
    outside.ClearField('float_data')
    outside.data_location = TensorProto.EXTERNAL
    for key, value in (('location', '../../../etc/passwd'), ('length', '4')):
        entry = outside.external_data.add()
        entry.key, entry.value = key, value
    bombs = {
        'filled': _computing(*filled, ('Add', ['x', 'c'], ['y'], {})),
        'tiled': _computing(
            ('Constant', [], ['s'], {'value': helper.make_tensor('s', TensorProto.INT64, [1], [1 << 34])}),
            ('Expand', ['x', 's'], ['y'], {}),
        ),
        'outside': _computing(('Constant', [], ['c'], {'value': outside}), ('Add', ['x', 'c'], ['y'], {})),
        'text': b'no network',
    }
    for name, content in bombs.items():
        path = tmp_path / f'{name}.onnx'
        path.write_bytes(content)
        with pytest.raises(BadFileError, match=rf'{name}\.onnx: '):
            try_network(path)
    path.write_bytes(_computing(('Neg', ['x'], ['y'], {})))
    try_network(path)
