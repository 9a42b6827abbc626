# Curves in Weights and Biases (pip install wandb), offline until `wandb sync`; or train.py CONFIG --track wandb.
visualizer = dict(
    type='Visualizer',
    vis_backends=[
        dict(type='LocalVisBackend'),
        dict(type='WandbVisBackend', init_kwargs=dict(project='smilfit', mode='offline')),
    ],
)
