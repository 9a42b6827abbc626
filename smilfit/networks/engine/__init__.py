"""Runner glue around mmengine: hooks, optimiser wrapper, launchers, checkpoints.

The names below are imported when they are first used: a fit need not wait for what trains or plots.
"""

from smilfit.lazy_names import lazy_names

_PUBLIC = {
    'AutocastOptimWrapper': 'optim_wrappers',
    'BadBatchHook': 'hooks.bad_batch_hook',
    'GroupedOptimWrapperConstructor': 'optim_wrappers',
    'LossCurriculumHook': 'hooks.epoch_hooks',
    'PlainCheckpointHook': 'hooks.plain_checkpoint_hook',
    'RememberingEarlyStoppingHook': 'hooks.epoch_hooks',
    'ShapeMixtureEMHook': 'hooks.shape_mixture_hook',
    'SkippingOptimWrapper': 'optim_wrappers',
    'StagedUnfreezeHook': 'hooks.epoch_hooks',
    'TrainedRegressor': 'trained_model',
    'build_data_loader': 'data_loading',
    'build_regressor': 'model_building',
    'build_test_runner': 'runner',
    'build_train_runner': 'runner',
    'building': 'configs',
    'choose_device': 'runner',
    'compute_statistics': 'training_statistics',
    'config_of_checkpoint': 'plain_values',
    'files_of': 'label_check',
    'learned_mixture': 'hooks.shape_mixture_hook',
    'install_checkpoint_loader': 'checkpoint_loader',
    'load_experiment': 'configs',
    'load_trained_regressor': 'trained_model',
    'read_checkpoint': 'checkpoint_loader',
    'set_mixed_precision': 'configs',
    'set_refinement': 'configs',
    'set_resume': 'configs',
    'set_tracking': 'configs',
}

__all__ = [*_PUBLIC]
__getattr__, __dir__ = lazy_names(__name__, _PUBLIC)
