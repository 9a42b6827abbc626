"""The stage loop: SMPLify and its kin. Registration of scans is imported when it is used: it brings scipy."""

from importlib import import_module

from smilfit.registrants.initializer import RigidInitializer, VertexInitializer
from smilfit.registrants.part_files import PartFiles
from smilfit.registrants.smalify import SMALify
from smilfit.registrants.smplify import SMPLify
from smilfit.registrants.smplifyx import SMPLifyX, SMPLifyXD
from smilfit.registrants.stage import Stage
from smilfit.registrants.stagewise import RegistrantHook, SMPLifyVerboseHook
from smilfit.registrants.swaps import SideUnswapper
from smilfit.registrants.views.ambiguity import AmbiguityThresholds, OneViewAmbiguity, one_view_ambiguity
from smilfit.registrants.views.view_initializer import ViewInitializer

__all__ = [
    'AmbiguityThresholds',
    'MeshRegistrant',
    'OneViewAmbiguity',
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
    'one_view_ambiguity',
]


def __getattr__(name: str) -> object:
    # Registration of scans is a wing: it is imported when somebody asks for it.
    if name == 'MeshRegistrant':
        return getattr(import_module('smilfit.scans.registration'), name)
    raise AttributeError(f'module {__name__!r} has no attribute {name!r}')
