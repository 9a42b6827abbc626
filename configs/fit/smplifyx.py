# A person with hands and face (SMPL-X, metres) fitted to 3D keypoints; terms and weights are those of smplify.py.
# Without keypoints of the face, jaw and eyes stay at rest. With them, set fit_expression=True in the last stage.
_base_ = ['./smplify.py']

type = 'SMPLifyX'

body_first = dict(
    fit_left_hand_pose=False,
    fit_right_hand_pose=False,
    fit_jaw_pose=False,
    fit_leye_pose=False,
    fit_reye_pose=False,
    fit_expression=False,
)
place, body, hands = _base_.stages
stages = [
    dict(place, **body_first),
    dict(body, name='body', **body_first),
    dict(hands, name='hands', fit_expression=False),
]
# Not arguments of the registrant.
del body_first, place, body, hands
