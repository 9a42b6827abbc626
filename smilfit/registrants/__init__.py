"""The stage loop: SMPLify and its kin. Registration of scans is imported when it is used: it brings scipy."""

from smilfit.lazy_names import lazy_names
from smilfit.registrants.hooks import RegistrantHook, SMPLifyVerboseHook
from smilfit.registrants.initializer import RigidInitializer
from smilfit.registrants.part_files import PartFiles
from smilfit.registrants.smalify import SMALify
from smilfit.registrants.smplify import SMPLify, SMPLifyX
from smilfit.registrants.smplifyxd import SMPLifyXD
from smilfit.registrants.stage import Stage
from smilfit.registrants.unswap import SideUnswapper
from smilfit.registrants.vertex_initializer import VertexInitializer
from smilfit.registrants.view_doubt import DoubtThresholds, OneViewDoubt, one_view_doubt
from smilfit.registrants.view_initializer import ViewInitializer

__all__ = [
    'DoubtThresholds',
    'MeshRegistrant',
    'OneViewDoubt',
    'PartFiles',
    'RegistrantHook',
    'RigidInitializer',
    'SMALify',
    'SMPLify',
    'SMPLifyVerboseHook',
    'SMPLifyX',
    'SMPLifyXD',
    'SideUnswapper',
    'Stage',
    'VertexInitializer',
    'ViewInitializer',
    'one_view_doubt',
]
__getattr__, _ = lazy_names(__name__, {'MeshRegistrant': 'registration'})
