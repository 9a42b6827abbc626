"""SMPLify for bodies with hands and face."""

from collections.abc import Sequence
from typing import Any

from smilfit.body_models import SMIL
from smilfit.handlers import BaseHandler
from smilfit.registrants.smplify import SMPLify
from smilfit.registrants.stage import Stage, StageConfig
from smilfit.registry import REGISTRANTS


@REGISTRANTS.register_module()
class SMPLifyX(SMPLify):
    """SMPLify for bodies with hands, face and expression.

    Stages also take `fit_left_hand_pose`, `fit_right_hand_pose`, `fit_jaw_pose`, `fit_leye_pose`, `fit_reye_pose` and
    `fit_expression` (on where a stage does not say otherwise); `fit_body_pose` is the rest of the pose.
    """

    parts_apart = True


_KEY = 'fit_displacement'


@REGISTRANTS.register_module()
class SMPLifyXD(SMPLifyX):
    """SMPLifyX under the name of XRMoCap's registrant with an offset for every vertex.

    XRMoCap hands these offsets to a body model that does not add them, so that they stay 0 and its results are
    those of SMPLifyX. They are no parameters here either: a stage may say `fit_displacement=False`, or nothing of it.

    Args:
        body_model: the body.
        stages: as for `SMPLifyX`.
        handlers: the terms.
        kwargs: as for `SMPLifyX`.

    Raises:
        ValueError: a stage that fits displacements.
    """

    def __init__(
        self,
        body_model: SMIL,
        stages: Sequence[Stage | StageConfig],
        handlers: Sequence[BaseHandler],
        **kwargs: Any,
    ) -> None:
        stages = [_without_displacement(s, i) for i, s in enumerate(stages)]
        super().__init__(body_model, stages, handlers, **kwargs)


def _without_displacement(stage: Stage | StageConfig, place: int) -> Stage | StageConfig:
    if isinstance(stage, Stage) or _KEY not in stage:
        return stage
    if stage[_KEY]:
        raise ValueError(
            f'SMPLifyXD: stage {place} must not fit displacements, because the body models have no offset of every '
            f'vertex; got {_KEY}=True. Leave it out; betas fit the surface, and joint_offsets fit bones.'
        )
    return {key: value for key, value in stage.items() if key != _KEY}
