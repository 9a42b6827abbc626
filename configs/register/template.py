# Register a template mesh without a skeleton: it is placed and sized, then its skin deforms, limbs first.
type = 'MeshRegistrant'
n_starts = 3
per_part = 2000
# Of the whole body along its three axes.
priors = dict(joint_scale_sd=0.1)
stages = [dict(sigma=0.1, along=0.3, n_iter=20, ftol=1e-2)]
deformation = [
    dict(sigma=0.1, strain=0.1, along=0.3, limbs=True, n_iter=15, ftol=5e-4),
    dict(sigma=0.03, strain=0.1, along=0.2, limbs=True, n_iter=15, ftol=5e-4),
    dict(sigma=0.01, strain=0.1, n_iter=12, ftol=3e-4),
    dict(sigma=0.004, strain=0.1, n_iter=12, ftol=3e-4),
]
