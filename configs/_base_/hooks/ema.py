# Validate, test and keep the running mean of the weights (1 / momentum is about how many steps it looks back):
#   _base_ = ['multiview_resnet.py', '../_base_/hooks/ema.py']
#   custom_hooks = [*_base_.custom_hooks, _base_.ema]
ema = dict(type='EMAHook', ema_type='ExponentialMovingAverage', momentum=0.001, update_buffers=True)
