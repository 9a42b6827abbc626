"""AniMer's checkpoints become ours: all names and shapes, the same numbers, and every fault of a file named."""

import hashlib
import json

import pytest
import timm
import torch

from smilfit.cli.main import main
from smilfit.files import BadFileError
from smilfit.files.tensor_files import read_tensor_file
from smilfit.networks import TimmBackbone, load_animer
from smilfit.networks.animer.checkpoint import converted_weights
from tests.networks.animer_files import (
    RELEASED,
    SMALL,
    class_token_shapes,
    network_shapes,
    ruled_image,
    ruled_state,
)

# Of the sorted (name, shape) pairs of the released network as JSON, taken from its own classes.
DIGEST = '63017bc3bfc33c395c89c98060e76fb7f81d8d99de7af9e193961857d0d7d8da'


class _Settings(dict):
    """What a training of AniMer leaves in its checkpoint, of a class that a reader need not have."""

    def __init__(self, **values):
        super().__init__(values)
        self.parent = self


def _convert(*arguments) -> int:
    return main(['convert-checkpoint', 'animer', *map(str, arguments)])


def _write(path, state, **further):
    torch.save({'state_dict': state, 'hyper_parameters': {'cfg': _Settings(IEF_ITERS=1)}, **further}, path)
    return path


def test_all_520_tensors_of_the_released_network_have_their_place():
    shapes = network_shapes(RELEASED)
    other = {f'class_token_head.{name}': shape for name, shape in class_token_shapes()}
    pairs = sorted([name, list(shape)] for name, shape in (shapes | other).items())
    assert len(pairs) == 520
    assert hashlib.sha256(json.dumps(pairs, separators=(',', ':')).encode()).hexdigest() == DIGEST
    # Without data: they would take 2.6 GB.
    state = {name: torch.empty(shape, device='meta') for name, shape in pairs}
    result = converted_weights('x.ckpt', state)
    assert result.model['backbone']['options']['num_heads'] == 16
    assert result.model['head'] == {
        'type': 'SmalDecoderHead', 'n_joints': 35, 'n_betas': 41, 'context_dim': 1280, 'dim': 1024, 'n_layers': 6,
        'n_heads': 8, 'dim_head': 64, 'mlp_dim': 1024, 'n_iters': 1,
    }  # fmt: skip
    # A token and a position become one query, and a layer's keys part from its values.
    assert len(result.weights) == 504 - 3 + 1 + 6
    assert not result.unknown
    assert len(result.left_out) == 16 + 1
    assert sum(value.numel() for value in result.weights.values()) == pytest.approx(671e6, rel=0.02)


def test_a_converted_file_has_the_same_numbers_and_reads_nothing_but_weights(tmp_path, capsys):
    state = ruled_state()
    further = {'class_token_head.head.0.weight': torch.zeros(2), 'discriminator.x': torch.zeros(2)}
    source = _write(tmp_path / 'in.ckpt', state | further, optimizer_states=[_Settings(a=[torch.zeros(9)])])
    with pytest.raises(BadFileError, match='could run code'):
        read_tensor_file(source)
    out = tmp_path / 'out.pth'
    assert _convert(source, out, '--heads', 4) == 0
    printed = capsys.readouterr().out
    assert 'none missing' in printed
    assert 'left out, as they take no part: 3 (class_token_head 1, discriminator 1, smal_head 1)' in printed
    network = load_animer(out)
    assert network.backbone.mean.flatten().tolist() == pytest.approx([0.485, 0.456, 0.406])
    pos = network.backbone.network.pos_embed
    given = state['backbone.pos_embed']
    assert torch.equal(pos[:, 1:], given[:, 1:] + given[:, :1])
    assert not pos[:, 0].any()
    assert torch.equal(network.backbone.network.norm.bias, state['backbone.last_norm.bias'])
    # timm's own classes, with the padding alone changed.
    options = dict(embed_dim=64, depth=3, num_heads=4, img_size=(256, 192), num_classes=0, global_pool='')
    twin = timm.create_model('vit_base_patch16_224', **options).eval()
    twin.patch_embed.proj.padding = (2, 2)
    twin.load_state_dict(network.backbone.network.state_dict())
    image = ruled_image()
    with torch.no_grad():
        tokens = twin.forward_features(image)
        prediction = network(image * network.backbone.std + network.backbone.mean)
    torch.testing.assert_close(prediction.features, tokens[:, 0], rtol=1e-4, atol=1e-5)


def test_a_file_that_is_there_is_kept(tmp_path, capsys):
    source = _write(tmp_path / 'in.ckpt', ruled_state())
    out = tmp_path / 'out.pth'
    out.write_text('mine')
    assert _convert(source, out, '--heads', 4) == 1
    assert '--force' in capsys.readouterr().err
    assert out.read_text() == 'mine'


@pytest.mark.parametrize('prefix', ['', 'backbone.'])
def test_a_backbone_of_vitpose_loads_without_a_class_token(prefix, tmp_path, capsys):
    state = {n.removeprefix('backbone.'): v for n, v in ruled_state().items() if n.startswith('backbone.')}
    token = state.pop('cls_token')
    state = {prefix + name: value for name, value in state.items()}
    if prefix:
        state['keypoint_head.final_layer.weight'] = torch.zeros(1)
    out = tmp_path / 'out.pth'
    assert _convert(_write(tmp_path / 'in.pth', state), out, '--heads', 4) == 0
    assert ('keypoint_head 1' in capsys.readouterr().out) == bool(prefix)
    cfg = json.loads(read_tensor_file(out)['backbone'])
    assert cfg.pop('type') == 'TimmBackbone'
    backbone = TimmBackbone(**cfg, checkpoint=out).eval()
    assert backbone.network.cls_token is None
    assert backbone(torch.rand(1, 3, 256, 192)).shape == (1, 64, 16, 12)
    assert token.shape == (1, 1, 64)


def test_the_backbone_of_animer_can_be_written_alone(tmp_path):
    out = tmp_path / 'out.pth'
    assert _convert(_write(tmp_path / 'in.ckpt', ruled_state()), out, '--heads', 4, '--backbone') == 0
    cfg = json.loads(read_tensor_file(out)['backbone'])
    cfg.pop('type')
    assert TimmBackbone(**cfg, checkpoint=out).network.cls_token is not None


def test_names_that_are_missing_or_left_over_are_listed(tmp_path, capsys):
    state = ruled_state()
    source, out = tmp_path / 'in.ckpt', tmp_path / 'out.pth'
    assert _convert(_write(source, state | {'backbone.blocks.0.ls1': torch.zeros(1)}), out, '--heads', 4) == 0
    assert 'left over, of unknown names: 1 (network.blocks.0.ls1)' in capsys.readouterr().out.replace(
        'backbone.network', 'network'
    )
    less = {n: v for n, v in state.items() if n not in ('backbone.last_norm.bias', 'smal_head.deccam.bias')}
    less['backbone.blocks.1.norm1.bias'] = torch.zeros(7)
    assert _convert(_write(source, less), out, '--heads', 4, '--force') == 1
    printed = capsys.readouterr().err
    assert '2 missing' in printed
    assert 'backbone.network.norm.bias' in printed
    assert 'head.camera.bias' in printed
    assert '(7,) instead of (64,)' in printed


def test_files_that_are_no_such_checkpoint_are_refused(tmp_path, capsys):
    out = tmp_path / 'out.pth'
    cases = (
        ({'weights': 1}, 'must hold "state_dict"'),
        ({'state_dict': {'a': 1}}, 'must be tensors by name'),
        ({'state_dict': {'a': torch.zeros(1)}}, 'patch_embed.proj.weight'),
    )
    for content, words in cases:
        torch.save(content, tmp_path / 'in.ckpt')
        assert _convert(tmp_path / 'in.ckpt', out) == 1
        assert words in capsys.readouterr().err
    assert _convert(tmp_path / 'none.ckpt', out) == 1
    assert 'no such checkpoint' in capsys.readouterr().err
    # Shapes do not tell into how many heads 64 channels part.
    assert _convert(_write(tmp_path / 'in.ckpt', ruled_state(SMALL)), out) == 1
    assert 'Give --heads' in capsys.readouterr().err
    state = ruled_state() | {'smal_head.decpose.bias': torch.full((210,), torch.nan)}
    assert _convert(_write(tmp_path / 'in.ckpt', state), out, '--heads', 4) == 1
    assert 'must be finite' in capsys.readouterr().err
    torch.save({'state_dict': {}, 'smilfit': {}}, tmp_path / 'other.pth')
    with pytest.raises(BadFileError, match="of AniMer's network"):
        load_animer(tmp_path / 'other.pth')
