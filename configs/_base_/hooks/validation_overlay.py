# Pictures of four validation samples at every validation, the predicted body beside what was annotated, in the run's
# vis_data/vis_image, and where the curves go (trackers/tensorboard.py, trackers/wandb.py):
#   _base_ = ['multiview_resnet.py', '../_base_/hooks/validation_overlay.py']
#   custom_hooks = [*_base_.custom_hooks, _base_.validation_overlay]
custom_imports = dict(imports=['smilfit.drawing.validation_overlay_hook'])
validation_overlay = dict(type='ValidationOverlayHook', interval=1, count=4)
