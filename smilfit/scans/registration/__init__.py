"""Registration of scanned meshes by a rigged body."""

from smilfit.scans.registration.mesh_registrant import MeshRegistrant
from smilfit.scans.registration.posed_surface import PosedSurface, SurfaceState
from smilfit.scans.registration.registration_priors import PriorSizes
from smilfit.scans.registration.result import Registration
from smilfit.scans.registration.scan import Scan, clean_scan, unit_suspicion
from smilfit.scans.registration.stages import DeformationStage, RegistrationStage
from smilfit.scans.registration.template import template_body

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
