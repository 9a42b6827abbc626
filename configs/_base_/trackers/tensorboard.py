# Curves for `tensorboard --logdir WORK_DIR` (pip install tensorboard); or tools/train.py CONFIG --track tensorboard.
visualizer = dict(
    type='Visualizer', vis_backends=[dict(type='LocalVisBackend'), dict(type='TensorboardVisBackend')]
)
