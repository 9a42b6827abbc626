"""Joint angles over time

From a fit's file: flexion of two joints of a leg. `smilfit export FIT --to angles` writes such tables.
"""

import sys
from pathlib import Path

from matplotlib import pyplot as plt

import smilfit as sf
from smilfit.io.exports.joint_angles import joint_angles

demo, picture = Path(sys.argv[1]), Path(sys.argv[2])
body = sf.load_body_model(demo / 'animal.smil.json')
result = sf.FitResult.load(demo / 'first_look/session_000/fit.npz', body=body)
angles = joint_angles(body, result.params)

figure, axis = plt.subplots(figsize=(8, 3))
seconds = result.frames.numpy() / result.origin.fps
for joint in ('hip_L', 'knee_L'):
    axis.plot(seconds, angles.degrees[:, angles.names.index(joint), 3], label=joint)
axis.set(xlabel='s', ylabel='flexion, degrees')
axis.legend(frameon=False)
figure.savefig(picture, bbox_inches='tight', dpi=80)
