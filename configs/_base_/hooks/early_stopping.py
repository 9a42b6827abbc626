# Stop when six validations one after the other were no better by a figure that no loss weight changes:
#   _base_ = ['multiview_resnet.py', '../_base_/hooks/early_stopping.py']
#   custom_hooks = [*_base_.custom_hooks, _base_.early_stopping]
early_stopping = dict(
    type='EarlyStoppingHook', monitor='pck_auc_original', rule='greater', patience=6, min_delta=0.002
)
