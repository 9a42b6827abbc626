# A person with hands and face (SMPL-X, metres) fitted to 3D keypoints; terms and weights are those of smplify.py.
# Without keypoints of the face, jaw and eyes stay at rest. With them, set fit_expression=True in the last stage.
_base_ = ['./smplify.py']

type = 'SMPLifyX'

_body_first = dict(
    fit_left_hand_pose=False,
    fit_right_hand_pose=False,
    fit_jaw_pose=False,
    fit_leye_pose=False,
    fit_reye_pose=False,
    fit_expression=False,
)

stages = [
    dict(
        name='place',
        optimizer=dict(type='LevenbergMarquardt', gnc_schedule=(4.0,)),
        n_iter=10,
        ftol=1e-2,
        fit_body_pose=False,
        fit_betas=False,
        keypoints3d_mse_weight=4e4,
        **_body_first,
    ),
    dict(
        name='body',
        optimizer=dict(type='LevenbergMarquardt', gnc_schedule=(4.0, 2.0)),
        n_iter=20,
        ftol=1e-3,
        keypoints3d_mse_weight=4e4,
        pose_reg_weight=40.0,
        shape_prior_weight=40.0,
        **_body_first,
    ),
    dict(
        name='hands',
        n_iter=40,
        ftol=1e-5,
        fit_expression=False,
        keypoints3d_mse_weight=4e4,
        pose_reg_weight=0.25,
        shape_prior_weight=0.25,
    ),
]
# Not an argument of the registrant.
del _body_first
