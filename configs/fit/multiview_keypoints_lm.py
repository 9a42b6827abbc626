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

# The first stages find place and skeleton with a wide loss: a paw that is bent the wrong way else stays so, its
# labels taken for wrong ones. The last one starts from there.
optimizer = dict(_delete_=True, type='LevenbergMarquardt', gnc_schedule=())

place, skeleton, pose = (dict(stage, ftol=1e-3) for stage in _base_.stages)
wide = dict(type='LevenbergMarquardt', gnc_schedule=(8.0,))
stages = [
    dict(place, optimizer=wide),
    dict(skeleton, optimizer=wide, joint_limit_weight=1e4),
    dict(pose, joint_limit_weight=1e4),
]
del limits, place, skeleton, pose, wide
