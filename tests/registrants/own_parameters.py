"""A user's file: two parameters that smilfit does not have, and a body that uses them."""

import torch

from smilfit.body_models import SMIL
from smilfit.registry import BODY_MODELS
from smilfit.structures import ParameterSpec, register_parameter

register_parameter(ParameterSpec('deform_verts', ('V', 3), 'model unit', shared=True))
register_parameter(ParameterSpec('limb_length', ('L',), 'share of the length at rest', 'scale'))


@BODY_MODELS.register_module(force=True)
class SoftAnimal(SMIL):
    """A body whose skin is displaced, and whose last joints stand nearer or farther in some frames."""

    limbs = (3, 7)

    @property
    def sizes(self):
        """L: how many limbs have a length."""
        return super().sizes | {'L': len(self.limbs)}

    def frame_offsets(self, params, vertices):
        """Displace the skin."""
        offsets = super().frame_offsets(params, vertices)
        if params.deform_verts is None:
            return offsets
        return offsets + (params.deform_verts if vertices is None else params.deform_verts[:, vertices])

    def rest_joints_of(self, params, rest):
        """Move the ends of limbs along their bones."""
        joints = super().rest_joints_of(params, rest)
        if params.limb_length is None:
            return joints
        index = torch.tensor(self.limbs, device=joints.device)
        starts = joints[:, self.tree.parents[index]]
        ends = starts + params.limb_length.unsqueeze(-1) * (joints[:, index] - starts)
        return joints.expand(len(ends), -1, -1).index_copy(1, index, ends)


register_parameter(ParameterSpec('bulges', ('Q',), 'share', shared=True, linear=True))


@BODY_MODELS.register_module(force=True)
class BulgingAnimal(SMIL):
    """A body with two directions of its own, of joints and skin, at rest."""

    @property
    def sizes(self):
        """Q: how many directions."""
        return super().sizes | {'Q': 2}

    def joint_directions(self, name):
        """Lengthen the last bones."""
        if name != 'bulges':
            return super().joint_directions(name)
        joints = torch.zeros_like(self.joints_template).expand(2, -1, -1).clone()
        joints[0, 4:, 0], joints[1, 7:, 1] = 0.5, 0.5
        return joints

    def vertex_directions(self, name):
        """Move the skin with them, and more."""
        if name != 'bulges':
            return super().vertex_directions(name)
        return self.weights @ self.joint_directions(name) + 0.1 * self.v_template.abs()
