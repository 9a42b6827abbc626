"""SMILify's HDF5 datasets, read once: to be imported into a dataset file of this project."""

from smilfit.datasets.smilify.files import SmilifyFile, common_unit, read_smilify, sessions_of
from smilfit.datasets.smilify.schema import is_smilify

__all__ = ['SmilifyFile', 'common_unit', 'is_smilify', 'read_smilify', 'sessions_of']
