# Register a rigged body to scans of surfaces (docs/registration.md).
#
# sigma: distance at which a point counts half, share of the scan's extent; never below three times its noise.
# along: weight of a distance along the surface, beside 1 across it (point to plane).
# by_noise: weigh the scan's points by its noise alone, not by part; right once all parts are in place.
# Every stage ends when it has converged; n_iter is the most.
type = 'MeshRegistrant'
# Pairings of limbs, and so orientations, that are followed.
n_starts = 3
# Points of each part of the body, however small it is.
per_part = 40
scan_points = 4000
# rad; standard deviations of the shape space; logarithms; rad beyond a joint's limit.
# joint_offset_sd=0.01 (share of the model's extent) would fit where joints are, too.
priors = dict(pose_sd=0.35, shape_sd=1.0, joint_scale_sd=0.1, asymmetry_sd=0.15, limit_sd=0.1)

stages = [
    dict(sigma=0.04, along=0.3, limbs=True, n_iter=25, ftol=1e-2),
    dict(sigma=0.015, along=0.1, n_iter=40),
    dict(sigma=0.006, along=0.03, n_iter=40),
    dict(sigma=0.002, along=0.01, by_noise=True, n_iter=60, ftol=1e-4),
]
# Of the vertices at rest. strain: standard deviation of the change of an edge, a share of its length.
deformation = [dict(sigma=0.004, strain=0.03), dict(sigma=0.002, strain=0.05)]
