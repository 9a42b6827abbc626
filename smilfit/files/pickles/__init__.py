"""Read pickles by an interpreter of our own, which makes nothing but inert nodes; values are made of them afterwards.

Nothing of Python's pickle modules runs on a file. Three steps, each of which knows only what the one before it gives:

1. `opcodes` takes bytes apart, by an allow-list of opcodes and with every length checked against the file's;
   `machine` runs the opcodes on a stack of lists, tuples and `nodes`. A name (`names`, an allow-list too) gives
   an inert `Name`, a call a `Made`, a dict its pairs. Nothing of the file's is called, hashed or printed.
2. `bounds` refuses what holds itself, nests too deep, or grows beyond a small multiple of the file when shared
   values are written out, so that no later loop, `repr` or `numpy.asarray` can be made to run for ever.
3. `values` makes plain containers and `StandIn`s, `numpy_arrays` arrays: dtypes through an expression of our own,
   bytes that must fill the shape exactly, a copy. `arrays` turns stand-ins of scipy and chumpy into arrays when
   asked, and bounds them before they take memory.

Cost: one Python step an opcode, about 2 us, and a copy of each array's bytes. Models have some hundred opcodes: one
of 4 MB takes 1 ms longer than with Python's own reader. Lists of numbers take longer, up to `MAX_OPCODES`.

The machine speaks dialects: what it reads of models is that of arrays; `files/tensor_files.py` has that of tensors.
"""

from smilfit.files.pickles.arrays import Builder, StandIn, as_array, value_of, whole_numbers, without_keys
from smilfit.files.pickles.machine import Dialect, run, run_from
from smilfit.files.pickles.nodes import (
    BrokenPickleError,
    UnsafePickleError,
    check_size,
    shown,
    shown_names,
)

__all__ = [
    'BrokenPickleError',
    'Builder',
    'Dialect',
    'StandIn',
    'UnsafePickleError',
    'as_array',
    'check_size',
    'run',
    'run_from',
    'shown',
    'shown_names',
    'value_of',
    'whole_numbers',
    'without_keys',
]
