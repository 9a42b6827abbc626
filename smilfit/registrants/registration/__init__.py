"""Registration of scanned meshes by a rigged body."""

from smilfit.registrants.registration.deformation import DeformationStage
from smilfit.registrants.registration.mesh_registrant import MeshRegistrant
from smilfit.registrants.registration.posed_surface import PosedSurface, SurfaceState
from smilfit.registrants.registration.priors import PriorSizes
from smilfit.registrants.registration.result import Registration
from smilfit.registrants.registration.scan import Scan, unit_suspicion
from smilfit.registrants.registration.scan_cleaning import clean_scan
from smilfit.registrants.registration.stages import RegistrationStage
from smilfit.registrants.registration.template import template_body

__all__ = [
    'DeformationStage',
    'MeshRegistrant',
    'PosedSurface',
    'PriorSizes',
    'Registration',
    'RegistrationStage',
    'Scan',
    'SurfaceState',
    'clean_scan',
    'template_body',
    'unit_suspicion',
]
