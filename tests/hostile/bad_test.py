"""Command lines that cannot work: testing, and the command of all commands."""

from tests.hostile.bad_configs import BAD_CONFIGS
from tests.hostile.command_runs import USAGE, Case, input_errors

_TEST = 'test {train} {checkpoint} --work-dir {out} --device cpu'

_USAGE = [
    Case('train without a config', 'train', USAGE, 'config'),
    Case('test without a checkpoint', 'test', USAGE, 'CHECKPOINT'),
    Case('test with an unknown device', f'{_TEST} --device gpu', USAGE, 'invalid choice'),
    Case('test with no pair', f'{_TEST} --cfg-options model', USAGE, 'KEY=VALUE'),
    Case('an unknown command', 'main trian', USAGE, "no command 'trian'"),
    Case('demo with no sessions', 'demo --out {out} --sessions 0', USAGE, 'from 2 to 1000'),
    Case('demo with no frames', 'demo --out {out} --frames -2', USAGE, 'at least 1'),
    Case('demo with one camera', 'demo --out {out} --cameras 1', USAGE, 'from 2 to 64'),
    Case('demo with no epochs', 'demo --out {out} --epochs 0', USAGE, 'at least 1'),
    Case('demo with tiny crops', 'demo --out {out} --resolution 4', USAGE, 'from 16'),
]


# How a checkpoint can be wrong: (input's name, message).
_BAD_CHECKPOINTS = (
    ('empty_pth', r'empty\.pth: a checkpoint must hold tensors; the file is empty'),
    ('text_pth', r'text\.pth: a checkpoint must be whole'),
    ('cut_pth', r'cut\.pth: a checkpoint must be whole'),
    ('flipped_pth', r'flipped\.pth: a checkpoint must be whole; the checksum of'),
    ('packed_pth', r'packed\.pth: a checkpoint must be stored unpacked'),
    ('code_pth', r'code\.pth: a checkpoint must hold tensors.*got .*mkdir'),
    ('expanded_pth', r'expanded\.pth: a tensor must be at most'),
    ('sparse_pth', r'sparse\.pth: a checkpoint must hold dense tensors'),
    ('looped_pth', r'looped\.pth: .*must not hold itself'),
    ('doubled_pth', r'doubled\.pth: .*must not hold more than'),
    ('list_pth', r'list\.pth: a checkpoint must hold a "state_dict"'),
    ('no_weights_pth', r'no_weights\.pth: a checkpoint must hold a "state_dict"'),
    ('weights_list_pth', r'weights_list\.pth: the weights of a checkpoint must be a dict'),
    ('weights_text_pth', r'weights_text\.pth: the weights of a checkpoint must be tensors'),
    ('meta_list_pth', r'meta_list\.pth: meta of a checkpoint must be a dict'),
    ('no_entry_pth', r"no_entry\.pth: .*has no entry 'smilfit'"),
    ('entry_list_pth', r'entry_list\.pth: smilfit of a checkpoint must be a dict'),
    ('newer_pth', r'newer\.pth: the format must be version 1 at most'),
    ('other_body_pth', r'other_body\.pth: a checkpoint must be used with the body model'),
    ('missing_weight_pth', r'missing_weight\.pth: the weights must match the model; 1 missing'),
    ('left_over_pth', r'left_over\.pth: .*1 left over'),
    ('shape_pth', r'shape\.pth: .*1 of other shape'),
)


def _test(config: str = '{train}', checkpoint: str = '{checkpoint}', more: str = '') -> str:
    return f'test {config} {checkpoint} --work-dir {{out}} --device cpu {more}'


_TESTING = [
    *input_errors('test, config', *((name, _test(config), message) for name, config, message in BAD_CONFIGS)),
    *input_errors(
        'test', *((name, _test(checkpoint=f'{{{name}}}'), message) for name, message in _BAD_CHECKPOINTS)
    ),
    *input_errors(
        'test',
        (
            'a checkpoint that is not there',
            _test(checkpoint='{root}/none.pth'),
            r'none\.pth: no such checkpoint',
        ),
        ('a folder as checkpoint', _test(checkpoint='{work}'), r'no such checkpoint'),
        ('a checkpoint elsewhere', _test(checkpoint='https://example.org/a.pth'), r'no such checkpoint'),
        ('an unknown metric', _test('{metric_unknown}'), r'NoSuchMetric'),
        ('--out is a folder', _test(more='--out {root}'), r'--out: must be a file'),
        ('--out lies in a file', _test(more='--out {file}/m.json'), r'--out: .*is a file'),
        ('--out is the config', _test(more='--out {train}'), r'--out: must not be one of the inputs'),
        (
            '--out is the checkpoint',
            _test(more='--out {checkpoint}'),
            r'--out: must not be one of the inputs',
        ),
        ('another body', _test(more='--body-model {other}'), r'other|body model|joint'),
        (
            'data that are not there',
            _test(more='--cfg-options test_dataloader.dataset.data_path={root}/none.h5'),
            r'none\.h5',
        ),
        (
            'a network of another size',
            _test(more='--cfg-options model.head.dim=32'),
            r'epoch_1\.pth: the weights must match',
        ),
    ),
]


TEST = (*_USAGE, *_TESTING)
