"""The names that a pickle may ask for; each stands for an inert `Name`, never for the thing itself."""

import re

from smilfit.files.pickles.errors import UnsafePickleError, shown
from smilfit.files.pickles.nodes import Name

# What is asked for -> what it stands for here. Both spellings: Python 2 and 3, numpy 1 and 2.
ALLOWED: dict[tuple[str, str], str] = {
    ('numpy', 'dtype'): 'dtype',
    ('numpy', 'ndarray'): 'ndarray',
    ('_codecs', 'encode'): 'encode',
    ('collections', 'OrderedDict'): 'ordered_dict',
}
for _core in ('numpy.core', 'numpy._core'):
    ALLOWED[(f'{_core}.multiarray', '_reconstruct')] = 'reconstruct'
    ALLOWED[(f'{_core}.multiarray', 'scalar')] = 'scalar'
    ALLOWED[(f'{_core}.numeric', '_frombuffer')] = 'frombuffer'
for _builtins in ('builtins', '__builtin__'):
    ALLOWED[(_builtins, 'set')] = 'set'
    ALLOWED[(_builtins, 'object')] = 'object'
    # Python 3 writes empty bytes so in protocols 0 to 2.
    ALLOWED[(_builtins, 'bytes')] = 'bytes'
for _copyreg in ('copyreg', 'copy_reg'):
    ALLOWED[(_copyreg, '_reconstructor')] = 'reconstructor'
# Whatever stands below these is kept as what it was made of; messages show the name, so it is short and plain.
STAND_IN = re.compile(r'(scipy\.sparse|chumpy)(\.[A-Za-z_][A-Za-z0-9_]{0,40}){1,5}')
# Kinds whose objects take a state; an ordered dict's would be its attributes.
TAKES_STATE = {'reconstruct', 'dtype', 'stand_in', 'reconstructor'}


def allowed_name(module: str, name: str) -> Name:
    """Give what a name stands for.

    Raises:
        UnsafePickleError: it is not on the allow-list.
    """
    kind = ALLOWED.get((module, name))
    if kind is None and STAND_IN.fullmatch(f'{module}.{name}'):
        kind = 'stand_in'
    if kind is None:
        raise UnsafePickleError(
            'a pickle must ask for nothing but arrays of numpy, scipy.sparse and chumpy; got '
            f'{shown(f"{module[:80]}.{name[:80]}")}, which is not on the allow-list'
        )
    return Name(kind, f'{module}.{name}')
