"""A camera that contradicts the others

One camera of the recording is rotated by two degrees. Every command reports this before it fits anything.
"""

import sys
from dataclasses import replace
from pathlib import Path

import torch
from matplotlib import pyplot as plt

import smilfit as sf
from smilfit.geometry.rotation import axis_angle_to_rotmat

demo, picture = Path(sys.argv[1]), Path(sys.argv[2])
session = sf.SleapSession(demo / 'sessions/session_000', demo / 'sessions/joint_lookup.csv', unit='mm')
seen = session.keypoints2d()
turn = axis_angle_to_rotmat(torch.tensor([[0.0, 0.035, 0.0]]).to(seen.rig.R))[0]
R, t = seen.rig.R.clone(), seen.rig.t.clone()
R[2], t[2] = turn @ R[2], turn @ t[2]
rigs = {'as recorded': seen.rig, 'cam_2 turned by 2 degrees': replace(seen.rig, R=R, t=t)}

figure, axes = plt.subplots(1, 2, figsize=(8, 2.6), sharey=True)
for axis, (title, rig) in zip(axes, rigs.items()):
    placed = sf.triangulate_keypoints(replace(seen, cameras=rig))
    pixels, _, valid = rig.project(placed.xyz)
    far = (pixels - seen.xy).norm(dim=-1)
    there = (seen.confidence > 0) & valid & placed.visible[:, None]
    axis.bar(rig.names, [float(far[:, c][there[:, c]].median()) for c in range(len(rig))], color='#2f6fb0')
    axis.set_title(title, fontsize=10)
axes[0].set_ylabel('median px from\ntriangulated points')
figure.savefig(picture, bbox_inches='tight', dpi=80)
