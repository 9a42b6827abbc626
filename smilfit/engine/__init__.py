"""Runner glue around mmengine: hooks, optimiser wrapper, launchers, checkpoints."""

from smilfit.engine.autocast_optim_wrapper import AutocastOptimWrapper
from smilfit.engine.bad_batch_hook import BadBatchHook
from smilfit.engine.checkpoint_config import config_of_checkpoint
from smilfit.engine.checkpoint_loader import install_checkpoint_loader, read_checkpoint
from smilfit.engine.config_options import merge_options
from smilfit.engine.configs import (
    building,
    load_experiment,
    set_mixed_precision,
    set_refinement,
    set_resume,
)
from smilfit.engine.data_loading import build_data_loader
from smilfit.engine.early_stopping_hook import RememberingEarlyStoppingHook
from smilfit.engine.grouped_parameters import GroupedOptimWrapperConstructor
from smilfit.engine.launch import choose_device, process_group
from smilfit.engine.loss_curriculum_hook import LossCurriculumHook
from smilfit.engine.model_building import build_regressor
from smilfit.engine.plain_checkpoint_hook import PlainCheckpointHook
from smilfit.engine.runner import build_test_runner, build_train_runner
from smilfit.engine.skipping_updates import SkippingOptimWrapper
from smilfit.engine.staged_unfreeze_hook import StagedUnfreezeHook
from smilfit.engine.tracking import set_tracking
from smilfit.engine.trained_model import TrainedRegressor, load_trained_regressor
from smilfit.engine.training_statistics import compute_statistics

__all__ = [
    'AutocastOptimWrapper',
    'BadBatchHook',
    'GroupedOptimWrapperConstructor',
    'LossCurriculumHook',
    'PlainCheckpointHook',
    'RememberingEarlyStoppingHook',
    'SkippingOptimWrapper',
    'StagedUnfreezeHook',
    'TrainedRegressor',
    'build_data_loader',
    'build_regressor',
    'build_test_runner',
    'build_train_runner',
    'building',
    'choose_device',
    'compute_statistics',
    'config_of_checkpoint',
    'install_checkpoint_loader',
    'load_experiment',
    'load_trained_regressor',
    'merge_options',
    'process_group',
    'read_checkpoint',
    'set_mixed_precision',
    'set_refinement',
    'set_resume',
    'set_tracking',
]
