"""A fit from a notebook

No config and no command: a session, a body, two stages. The labels are yellow, the body's keypoints orange.
"""

import sys
from pathlib import Path

import numpy as np
from PIL import Image

import smilfit as sf
from smilfit.drawing import OverlayPainter, Panel, ShownBody, enlarge

demo, picture = Path(sys.argv[1]), Path(sys.argv[2])
body = sf.load_body_model(demo / 'animal.smil.json')
session = sf.SleapSession(demo / 'sessions/session_000', demo / 'sessions/joint_lookup.csv', unit='mm')
seen = session.keypoints2d()[:30]
fitter = sf.SMPLify(
    body,
    handlers=[sf.Keypoint2dHandler(), sf.BodyPosePriorHandler()],
    stages=[
        sf.Stage(n_iter=10, fit=('global_orient', 'transl', 'scale'), weights={'keypoints2d_mse': 1.0}),
        sf.Stage(
            n_iter=30,
            fit=('global_orient', 'transl', 'scale', 'body_pose'),
            weights={'keypoints2d_mse': 1.0, 'body_pose_prior': 1.0},
        ),
    ],
    optimizer=sf.LevenbergMarquardt(),
)
result = fitter([seen])

row, panels = 15, []
_, images = next(iter(session.frames([row])))
fitted = result.keypoints3d.xyz[row]
for c, name in enumerate(seen.rig.names[1:3], start=1):
    camera = seen.rig.select([name])
    pixels = camera.project(fitted[None].to(camera.K))[0][0, 0].numpy()
    labels = np.where(seen.confidence[row, c, :, None] > 0, seen.xy[row, c], np.nan)
    shown = ShownBody(result.vertices()[row], pixels)
    panels.append(Panel(name, enlarge(images[name], camera, 420), labels, body=shown))
Image.fromarray(OverlayPainter(body.faces).draw(panels)).save(picture)
