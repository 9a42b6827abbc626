"""Command lines that cannot work: training."""

from tests.hostile.bad_configs import BAD_CONFIGS
from tests.hostile.command_runs import input_errors, usage_errors

_TRAIN = 'train {train} --work-dir {out} --device cpu'
_DATA = 'train_dataloader.dataset.data_path'

_TRAIN_OPTIONS = usage_errors(
    'train',
    _TRAIN,
    ('--cfg-options stages', 'KEY=VALUE'),
    ('--cfg-options =3', 'KEY=VALUE'),
    ('--cfg-options', 'expected at least one'),
    ('--cfg-options "a=[1,(2]"', 'brackets'),
    ('--device gpu', 'invalid choice'),
    ('--launcher mpi', 'invalid choice'),
)


def _train(config: str = '{train}', more: str = '', work: str = '{out}') -> str:
    return f'train {config} --work-dir {work} --device cpu {more}'


def _with(option: str) -> str:
    return _train(more=f'--cfg-options {option}')


def _resumed(checkpoint: str) -> str:
    return _train(more=f'--resume {checkpoint} --cfg-options train_cfg.max_epochs=2')


_TRAINING = [
    *input_errors(
        'train, config', *((name, _train(config), message) for name, config, message in BAD_CONFIGS)
    ),
    *input_errors(
        'train',
        (
            'a config of nothing',
            _train('{no_config}'),
            r'no_config\.py: a config for training must say model',
        ),
        ('a config of a fit', _train('fit/multiview_keypoints.py'), r'a config for training must say'),
        ('a model that is a number', _train('{model_number}'), r'model_number\.py: model must be a dict'),
        ('an unknown model', _train('{model_unknown}'), r"Did you mean 'MultiViewRegressor'"),
        ('an unknown argument', _train('{argument_unknown}'), r'loss_wieghts.*loss_weights'),
        ('a loader that is text', _train('{loader_text}'), r'train_dataloader must be a dict'),
        ('no dataset', _train('{dataset_none}'), r'train_dataloader\.dataset must be a dict'),
        ('no loop', _train('{no_train_cfg}'), r'must say train_cfg'),
        ('epochs as text', _train('{epochs_text}'), r'train_cfg\.max_epochs must be a whole number.*many'),
        ('a learning rate as text', _train('{lr_text}'), r'lr_text\.py|AdamW'),
        ('an unknown optimiser', _train('{optimizer_unknown}'), r'AdamX'),
        ('an unknown hook', _train('{hook_unknown}'), r'NoSuchHook'),
        ('a work dir that is a number', 'train {work_dir_number} --device cpu', r'work_dir must be a path'),
        ('an unknown key', _with('train_cfg.max_epoch=3'), r"Did you mean 'max_epochs'"),
        ('an unknown top key', _with('trian_cfg.max_epochs=3'), r"'train_cfg'"),
        ('a list index too large', _with('param_scheduler.9.begin=3'), r'is a list of'),
        ('a key of a number', _with('train_cfg.max_epochs.x=3'), r'has no keys'),
        ('a batch as text', _with('train_dataloader.batch_size=many'), r'batch_size'),
        ('a batch of none', _with('train_dataloader.batch_size=0'), r'batch_size'),
        (
            'a batch larger than the set',
            _with('train_dataloader.batch_size=5000'),
            r'batch_size must be at most',
        ),
        ('workers below none', _with('train_dataloader.num_workers=-1'), r'num_workers'),
        ('an unknown split', _with('train_dataloader.dataset.split=training'), r'training'),
        ('no data file', _with(f'{_DATA}=None'), r'data_path must name'),
        ('data that are not there', _with(_DATA + '={root}/none.h5'), r'none\.h5'),
        ('data that are text', _with(_DATA + '={text_h5}'), r'text\.h5'),
        ('data cut short', _with(_DATA + '={cut_data}'), r'cut\.h5'),
        ('a negative weight', _with('model.loss_weights.transl=-1'), r'transl'),
        ('an unknown weight', _with('model.loss_weights.nothing=1'), r'nothing'),
        ('an unknown network', _with('model.backbone.name=resnet5000'), r'resnet5000'),
        ('a backbone file not there', _with('model.backbone.checkpoint={root}/none.pth'), r'none\.pth'),
        (
            'a backbone file with code',
            _with('model.backbone.checkpoint={backbone_code_pth}'),
            r'backbone_code\.pth.*mkdir',
        ),
        (
            'a backbone file of another network',
            _with('model.backbone.checkpoint={backbone_other_pth}'),
            r'backbone_other\.pth.*must be those of the network',
        ),
        (
            'a backbone file that is a list',
            _with('model.backbone.checkpoint={list_pth}'),
            r'list\.pth.*dict of tensors',
        ),
        (
            'a backbone file that is empty',
            _with('model.backbone.checkpoint={empty_pth}'),
            r'empty\.pth.*is empty',
        ),
        ('a body that is not there', _train(more='--body-model {root}/none.pkl'), r'none\.pkl must be there'),
        ('a body that is text', _train(more='--body-model {text_model}'), r'text\.smil\.json'),
        ('a body of another animal', _train(more='--body-model {other}'), r'other|keypoint|joint'),
        (
            'a launcher that started nothing',
            _train(more='--launcher pytorch'),
            r'--launcher pytorch: RANK must be set',
        ),
        (
            'a base batch size that is not stated',
            _train(more='--auto-scale-lr --cfg-options auto_scale_lr=None'),
            r'base_batch_size',
        ),
        ('a work dir that is a file', _train(work='{file}'), r'--work-dir: must be a folder'),
        ('a work dir in a file', _train(work='{file}/work'), r'--work-dir: .*is a file'),
        (
            'a checkpoint to go on from that is not there',
            _resumed('{root}/none.pth'),
            r'none\.pth: no such checkpoint',
        ),
        ('a cut checkpoint to go on from', _resumed('{cut_pth}'), r'cut\.pth: a checkpoint must be whole'),
        (
            'only a cut checkpoint to go on from',
            _train(work='{cut_work}', more='--resume'),
            r'epoch_1\.pth: a checkpoint must be whole',
        ),
        (
            'last_checkpoint names a file elsewhere',
            _train(work='{outside_work}', more='--resume'),
            r'must hold a checkpoint',
        ),
        (
            'last_checkpoint names none',
            _train(work='{gone_work}', more='--resume'),
            r'must hold a checkpoint',
        ),
        ('a checkpoint without an epoch to go on from', _resumed('{no_epoch_pth}'), r'no_epoch\.pth.*epoch'),
        (
            'a checkpoint without a log to go on from',
            _resumed('{hub_pth}'),
            r'hub\.pth: a checkpoint to go on from',
        ),
        (
            'CUDA where there is none',
            'train {train} --work-dir {out} --device cuda',
            r'--device: cuda must be available',
        ),
    ),
]


TRAIN = (*_TRAIN_OPTIONS, *_TRAINING)
