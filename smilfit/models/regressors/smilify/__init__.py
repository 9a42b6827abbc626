"""SMILify's networks, computed as it computes them, so that its weights can be used and trained on."""

from smilfit.models.regressors.smilify.network import SmilifyNetwork, SmilifyOutput
from smilfit.models.regressors.smilify.regressor import SmilifyRegressor

__all__ = ['SmilifyNetwork', 'SmilifyOutput', 'SmilifyRegressor']
