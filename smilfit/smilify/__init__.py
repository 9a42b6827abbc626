"""SMILify's datasets, checkpoints, configs and networks, read and carried over.

The names below are imported when they are first used: reading a dataset need not wait for networks.
"""

from smilfit.lazy_names import lazy_names

_PUBLIC = {
    'SmilifyNetwork': 'network',
    'SmilifyOutput': 'network',
    'SmilifyRegressor': 'regressor',
    'convert_smilify_checkpoint': 'checkpoint',
    'convert_smilify_config': 'config',
    'common_unit': 'dataset_files',
    'read_smilify': 'dataset_files',
    'sessions_of': 'dataset_files',
}

__all__ = [*_PUBLIC]
__getattr__, __dir__ = lazy_names(__name__, _PUBLIC)
