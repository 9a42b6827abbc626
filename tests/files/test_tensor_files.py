"""Files of tensors: read whole or refused by name, in no more memory than they have bytes."""

import zipfile

import pytest
import torch

from smilfit.files import BadFileError
from smilfit.files.tensor_files import check_weight_names, read_tensor_file
from tests.hostile import hostile_checkpoints

TYPES = (torch.bfloat16, torch.int8, torch.bool, torch.complex64, torch.half)


class _Runs:
    def __reduce__(self):
        return print, ('it was run',)


@pytest.mark.parametrize('zipped', [True, False])
def test_what_was_saved_comes_back(tmp_path, zipped):
    shared = torch.arange(6.0)
    value = {
        'a': torch.arange(12).reshape(3, 4).T,
        'b': [1, 2.5, 'x', None, (True,)],
        'c': shared,
        'd': [shared],
    }
    torch.save(value, tmp_path / 'a.pth', _use_new_zipfile_serialization=zipped)
    result = read_tensor_file(tmp_path / 'a.pth')
    assert torch.equal(result['a'], value['a'])
    assert result['b'] == value['b']
    assert result['c'] is result['d'][0]
    # In memory of its own: the file may go.
    (tmp_path / 'a.pth').write_bytes(b'')
    assert torch.equal(result['c'], shared)


def test_every_cut_and_every_flipped_byte_is_refused_by_name_or_harmless(tmp_path):
    torch.save({'a': torch.arange(40.0)}, tmp_path / 'whole.pth')
    whole, path = (tmp_path / 'whole.pth').read_bytes(), tmp_path / 'bad.pth'
    for length in range(0, len(whole), 37):
        path.write_bytes(whole[:length])
        with pytest.raises(BadFileError, match=r'bad\.pth: a checkpoint must'):
            read_tensor_file(path)
    refused = []
    for place in range(0, len(whole), 11):
        data = bytearray(whole)
        data[place] ^= 0x10
        path.write_bytes(bytes(data))
        try:
            result = read_tensor_file(path)
        except BadFileError as error:
            refused.append(str(error))
        else:
            # Bytes between the members, and times of day, say nothing.
            assert torch.equal(result['a'], torch.arange(40.0))
    assert len(refused) > 20
    assert all(message.startswith(f'{path}: ') for message in refused)


def test_a_tensor_larger_than_its_data_is_refused(tmp_path):
    path = tmp_path / 'a.pth'
    torch.save({'x': torch.zeros(1).expand(100_000, 100_000)}, path)
    with pytest.raises(BadFileError, match='a tensor must be at most 4 bytes'):
        read_tensor_file(path)
    torch.save({'x': torch.arange(1000.0)}, path)
    # Declare 60000 numbers where 1000 are, with checksums that are right.
    rewritten = tmp_path / 'b.pth'
    with zipfile.ZipFile(path) as source, zipfile.ZipFile(rewritten, 'w') as target:
        for info in source.infolist():
            target.writestr(info.filename, source.read(info).replace(b'M\xe8\x03', b'M\x60\xea'))
    with pytest.raises(BadFileError, match=r'b\.pth: a checkpoint must be whole'):
        read_tensor_file(rewritten)


def test_what_is_packed_nested_or_code_is_refused(tmp_path, capsys):
    path = tmp_path / 'a.pth'
    looped: list = []
    looped.append(looped)
    doubled: list = [1]
    for _ in range(60):
        doubled = [doubled, doubled]
    for value, message in (
        (_Runs(), 'must hold tensors, numbers and texts only; got .*print'),
        (looped, 'must not hold itself'),
        (doubled, 'must not hold more than'),
    ):
        torch.save({'x': value}, path)
        with pytest.raises(BadFileError, match=message):
            read_tensor_file(path)
    torch.save({'x': torch.zeros(1000)}, path)
    packed = tmp_path / 'packed.pth'
    with zipfile.ZipFile(path) as source, zipfile.ZipFile(packed, 'w', zipfile.ZIP_DEFLATED) as target:
        for info in source.infolist():
            target.writestr(info.filename, source.read(info))
    with pytest.raises(BadFileError, match='must be stored unpacked'):
        read_tensor_file(packed)
    assert 'it was run' not in capsys.readouterr().out


@pytest.mark.parametrize('zipped', [True, False])
def test_values_are_those_that_torch_reads(tmp_path, zipped):
    network = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.BatchNorm2d(4), torch.nn.Linear(2, 2))
    network(torch.zeros(1, 3, 4, 4)).sum().backward()
    optimizer = torch.optim.AdamW(network.parameters())
    optimizer.step()
    base = torch.arange(24.0)
    value = {
        'state_dict': network.state_dict(),
        'optimizer': optimizer.state_dict(),
        'parameter': network[2].weight,
        'views': [base[3:9], base.reshape(4, 6).T[1:], base[:0], base[::5]],
        'types': [
            torch.ones(3).to(t) for t in (torch.bfloat16, torch.int8, torch.bool, torch.complex64, torch.half)
        ],
        'plain': (
            torch.Size([2, 3]),
            torch.device('cpu'),
            torch.float32,
            {1, 2},
            b'bytes',
            'text',
            -(1 << 40),
            1e300,
        ),
        ('a', 1): None,
    }
    path = tmp_path / 'a.pth'
    torch.save(value, path, _use_new_zipfile_serialization=zipped)
    assert_same(read_tensor_file(path), torch.load(path, weights_only=True))


def assert_same(found, wanted):
    if isinstance(wanted, torch.Tensor):
        assert (found.dtype, found.shape) == (wanted.dtype, wanted.shape)
        assert torch.equal(found, wanted)
        assert not found.requires_grad
    elif isinstance(wanted, dict):
        assert list(found) == list(wanted)
        for key, item in wanted.items():
            assert_same(found[key], item)
    elif type(wanted) in (list, tuple):
        assert type(found) is type(wanted)
        assert len(found) == len(wanted)
        for pair in zip(found, wanted):
            assert_same(*pair)
    else:
        assert type(found) is type(wanted)
        assert found == wanted


@pytest.mark.parametrize('name', sorted(hostile_checkpoints.FILES))
def test_small_files_that_would_stop_the_machine_are_refused(name, tmp_path):
    path = tmp_path / 'bomb.pth'
    path.write_bytes(hostile_checkpoints.FILES[name]())
    with pytest.raises(BadFileError, match=r'bomb\.pth: '):
        read_tensor_file(path)


def test_weights_are_tensors_by_name():
    check_weight_names('a.pth', 'a file', {'x': torch.zeros(1)})
    for wrong in ([1], {'x': 3}, {1: torch.zeros(1)}):
        with pytest.raises(BadFileError, match=r'a\.pth: the weights of a file must be'):
            check_weight_names('a.pth', 'a file', wrong)
    with pytest.raises(FileNotFoundError):
        read_tensor_file('none.pth')


class _Kept(dict):
    """Holds itself, as settings that know their parents do."""

    def __init__(self):
        super().__init__(name='settings', run=_Runs())
        self.parent = [self]


@pytest.mark.parametrize('zipped', [True, False])
def test_of_a_file_with_objects_the_wanted_entries_are_read_and_nothing_is_run(zipped, tmp_path, capsys):
    path = tmp_path / 'a.pth'
    kept = _Kept() if zipped else _Runs()
    value = {'state_dict': {'x': torch.arange(3.0)}, 'settings': kept, 'more': torch.ones(5)}
    torch.save(value, path, _use_new_zipfile_serialization=zipped)
    with pytest.raises(BadFileError, match='could run code'):
        read_tensor_file(path)
    read = read_tensor_file(path, only=('state_dict', 'missing'))
    assert list(read) == ['state_dict']
    assert read['state_dict']['x'].tolist() == [0, 1, 2]
    # An object in what is read is refused as ever.
    with pytest.raises(BadFileError, match='must not hold itself|could run code'):
        read_tensor_file(path, only=('settings',))
    assert 'it was run' not in capsys.readouterr().out
