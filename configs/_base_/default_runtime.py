# What every training shares. Lists here are replaced whole by an experiment's own.
default_scope = 'smilfit'
default_hooks = dict(
    logger=dict(type='LoggerHook', interval=10),
    # Chosen by a figure of the validation set that no loss weight changes.
    checkpoint=dict(
        type='CheckpointHook', interval=1, max_keep_ckpts=2, save_best='pck_auc_original', rule='greater'
    ),
)
# A run adds the guard against losses that are not finite and the checkpoints' hook by itself.
custom_hooks = []
log_processor = dict(by_epoch=True, window_size=10)
env_cfg = dict(mp_cfg=dict(mp_start_method='fork', opencv_num_threads=0))
randomness = dict(seed=0)
log_level = 'INFO'
load_from = None
resume = False
work_dir = None
