# The fit of multiview_keypoints.py by Levenberg-Marquardt: same terms, a fraction of the time. Limits hold: what a
# first-order solver cannot weigh so much is nothing to this one.
_base_ = ['./multiview_keypoints.py']

# What a model states of its joints holds to a degree or so; default limits are a guess, and weigh as other priors do.
limits = dict(type='JointLimitLoss', required=False, default_factor=1e-2)
handlers = [dict(h, prior_loss=limits) if h['handler_key'] == 'joint_limit' else h for h in _base_.handlers]

# Shape, sizes and landmarks come from frames all over the session, then poses window by window: memory stays as it is
# however long the session.
shape_frames = 200
window = 1000
overlap = 20

# Left and right that the detector took for each other are put back, by what the cameras and motion say.
unswap = dict(type='SideUnswapper')

# The first stage finds the place with a wide loss; the later ones start from there.
optimizer = dict(_delete_=True, type='LevenbergMarquardt', gnc_schedule=())

stages = [
    dict(
        name='place',
        optimizer=dict(type='LevenbergMarquardt', gnc_schedule=(8.0,)),
        n_iter=10,
        ftol=1e-3,
        fit_body_pose=False,
        fit_betas=False,
        fit_scale=True,
        keypoints2d_mse_weight=1.0,
    ),
    # Where labels lie on the animal and how large its parts are, while poses are held near rest. Posing first would
    # fold what is too long. A wide loss first here, too: a paw that is bent the wrong way else stays so, its labels
    # taken for wrong ones.
    dict(
        name='skeleton',
        optimizer=dict(type='LevenbergMarquardt', gnc_schedule=(8.0,)),
        n_iter=25,
        ftol=1e-3,
        fit_scale=True,
        fit_landmark_offsets=True,
        fit_part_sizes=True,
        keypoints2d_mse_weight=1.0,
        pose_reg_weight=100.0,
        shape_prior_weight=2.0,
        joint_limit_weight=1e4,
        landmark_prior_weight=0.1,
        part_size_prior_weight=0.3,
    ),
    dict(
        name='pose',
        n_iter=25,
        ftol=1e-3,
        fit_scale=True,
        fit_landmark_offsets=True,
        fit_part_sizes=True,
        keypoints2d_mse_weight=1.0,
        pose_reg_weight=5.0,
        shape_prior_weight=2.0,
        joint_limit_weight=1e4,
        landmark_prior_weight=0.05,
        part_size_prior_weight=0.3,
        smooth_motion_weight=5e3,
    ),
]
del limits
