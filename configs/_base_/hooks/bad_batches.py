# How many batches in a row may be left out, for a loss or gradient that is not finite, before the run stops:
#   _base_ = ['multiview_resnet.py', '../_base_/hooks/bad_batches.py']
#   custom_hooks = [*_base_.custom_hooks, _base_.bad_batches]
bad_batches = dict(type='BadBatchHook', most_in_a_row=10)
