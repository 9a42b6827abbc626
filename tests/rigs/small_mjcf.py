"""A made MuJoCo model that says things in many ways, and the bytes of its skin."""

import struct
from pathlib import Path

import numpy as np

MODEL = """<mujoco model="beast">
  <compiler angle="degree" eulerseq="zYx"/>
  <include file="parts/defaults.xml"/>
  <asset><skin name="skin" file="beast.skn"/><mesh name="bone" file="not_here.stl"/></asset>
  <worldbody>
    <light pos="0 0 3"/>
    <body name="trunk" pos="0.1 0 0.5" euler="30 -20 10">
      <freejoint name="root"/>
      <site name="withers" pos="0 0 0.1"/>
      <body name="pelvis" pos="-0.3 0 0" axisangle="0 1 0 25">
        <body name="thigh_L" pos="0 0.1 0" childclass="leg">
          <joint name="hip_yaw" axis="0 0 1" range="-20 40"/>
          <joint name="hip_roll" axis="1 0 0" range="-10 15"/>
          <joint name="hip_pitch" axis="0 1 0" range="-60 50"/>
          <frame pos="0 0 -0.1" zaxis="0.2 0 1">
            <body name="shin_L" pos="0 0 -0.1" quat="2 0.1 0 0">
              <joint name="knee" class="bent" axis="0.3 1 0"/>
              <site name="foot_L" pos="0 0 -0.2"/>
            </body>
          </frame>
        </body>
      </body>
      <body name="neck" pos="0.3 0 0.1" xyaxes="1 0.1 0 0 1 0.2">
        <joint name="neck_low" pos="-0.1 0 0" axis="0 1 0" range="-30 30" ref="10"/>
        <joint name="neck_high" pos="0.05 0 0" axis="0 0 1" limited="false"/>
      </body>
    </body>
    <body name="ball" pos="2 0 0"><freejoint/></body>
  </worldbody>
</mujoco>
"""
DEFAULTS = """<mujocoinclude>
  <default>
    <joint damping="1"/>
    <default class="leg">
      <joint pos="0 0 0.02"/>
      <default class="bent"><joint range="-100 5" pos="0.01 0 0"/></default>
    </default>
  </default>
</mujocoinclude>
"""
BODIES = ('trunk', 'pelvis', 'thigh_L', 'shin_L', 'neck')


def skin_bytes(frames, n=30, seed=0):
    """A skin of a few vertices, bound where the bodies stand in `frames` (name -> rotation, place)."""
    rng = np.random.default_rng(seed)
    vertices = rng.normal(scale=0.3, size=(n, 3))
    faces = np.array([[i, i + 1, i + 2] for i in range(n - 2)])
    weights = rng.random((n, len(BODIES))) * (rng.random((n, len(BODIES))) < 0.5)
    weights[np.arange(n), rng.integers(0, len(BODIES), n)] += 0.5
    out = [struct.pack('<4i', n, 0, len(faces), len(BODIES))]
    out += [vertices.astype('<f4').tobytes(), faces.astype('<i4').tobytes()]
    for i, body in enumerate(BODIES):
        rotation, place = frames[body]
        valid = np.flatnonzero(weights[:, i])
        out.append(body.encode().ljust(40, b'\0'))
        out.append(np.array([*place, *quaternion(rotation)], '<f4').tobytes())
        out += [struct.pack('<i', len(valid)), valid.astype('<i4').tobytes()]
        out.append(weights[valid, i].astype('<f4').tobytes())
    return b''.join(out)


def quaternion(rotation):
    """w, x, y, z of a rotation matrix whose trace is not small."""
    w = np.sqrt(1 + np.trace(rotation)) / 2
    x, y, z = (
        rotation[2, 1] - rotation[1, 2],
        rotation[0, 2] - rotation[2, 0],
        rotation[1, 0] - rotation[0, 1],
    )
    return np.array([w, *(np.array([x, y, z]) / (4 * w))])


def write_beast(folder: Path, frames, model: str = MODEL) -> Path:
    """Write all its files."""
    (folder / 'parts').mkdir(exist_ok=True)
    (folder / 'parts' / 'defaults.xml').write_text(DEFAULTS)
    (folder / 'beast.skn').write_bytes(skin_bytes(frames))
    path = folder / 'beast.xml'
    path.write_text(model)
    return path
