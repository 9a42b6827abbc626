"""Animal Pose in WLDO's JSON form: the schema and keypoint order of StanfordExtra, Animal Pose's names."""

from smilfit.io.annotations.stanfordextra import StanfordExtraReader
from smilfit.registry import ANNOTATIONS


@ANNOTATIONS.register_module(name='animalpose')
class AnimalPoseReader(StanfordExtraReader):
    """Read `animal_pose_data.json`; images are those of PASCAL VOC.

    Places are named as Animal Pose (Cao et al., ICCV 2019) names them. TailEnd, Chin and the ears' tips are in
    the order of StanfordExtra only; Animal Pose does not label them.
    """

    form = 'Animal Pose'
    keypoint_names = (
        'L_F_Paw', 'L_F_Knee', 'L_F_Elbow', 'L_B_Paw', 'L_B_Knee', 'L_B_Elbow',
        'R_F_Paw', 'R_F_Knee', 'R_F_Elbow', 'R_B_Paw', 'R_B_Knee', 'R_B_Elbow',
        'TailBase', 'TailEnd', 'L_EarBase', 'R_EarBase', 'Nose', 'Chin',
        'L_EarTip', 'R_EarTip', 'L_Eye', 'R_Eye', 'Withers', 'Throat',
    )  # fmt: skip
