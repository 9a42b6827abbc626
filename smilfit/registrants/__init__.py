"""The stage loop: SMPLify and its kin."""

from smilfit.registrants.initializer import RigidInitializer
from smilfit.registrants.smplify import SMPLify, SMPLifyX
from smilfit.registrants.stage import Stage

__all__ = ['RigidInitializer', 'SMPLify', 'SMPLifyX', 'Stage']
