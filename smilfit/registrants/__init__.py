"""The stage loop: SMPLify and its kin."""

from smilfit.registrants.initializer import RigidInitializer
from smilfit.registrants.part_files import PartFiles
from smilfit.registrants.smalify import SMALify
from smilfit.registrants.smplify import SMPLify, SMPLifyX
from smilfit.registrants.stage import Stage
from smilfit.registrants.view_initializer import ViewInitializer

__all__ = ['PartFiles', 'RigidInitializer', 'SMALify', 'SMPLify', 'SMPLifyX', 'Stage', 'ViewInitializer']
