"""Points in space, without images

The recording's 3D points alone. The rest of the body follows from the shape space and the joint limits, for
nobody observed the skin.
"""

import sys
from pathlib import Path

from PIL import Image

import smilfit as sf
from smilfit.drawing import free_views

demo, picture = Path(sys.argv[1]), Path(sys.argv[2])
body = sf.load_body_model(demo / 'animal.smil.json')
session = sf.SleapSession(demo / 'sessions/session_000', demo / 'sessions/joint_lookup.csv', unit='mm')
points = session.keypoints3d()[:30]
fitter = sf.SMPLify(
    body,
    handlers=[sf.Keypoint3dHandler(), sf.BodyPosePriorHandler()],
    stages=[
        sf.Stage(
            n_iter=30,
            fit=('global_orient', 'transl', 'scale', 'body_pose', 'betas'),
            weights={'keypoints3d_mse': 1.0, 'body_pose_prior': 0.1},
        ),
    ],
    optimizer=sf.LevenbergMarquardt(),
    use_one_betas_per_video=True,
)
result = fitter([points])
far = (result.keypoints3d.xyz - points.xyz).norm(dim=-1)[points.confidence > 0]
print(f'median distance from the points: {float(far.median()):.2f} mm')
Image.fromarray(free_views(body, result.params[15])).save(picture)
