# A checkpoint every 1000 batches beside those of epochs, to go on from in the middle of one:
#   _base_ = ['multiview_resnet.py', '../_base_/hooks/checkpoints_by_iteration.py']
#   custom_hooks = [*_base_.custom_hooks, _base_.checkpoints_by_iteration]
checkpoints_by_iteration = dict(type='CheckpointHook', by_epoch=False, interval=1000, max_keep_ckpts=1)
