"""Pickles that want to run code, or to reach things by opcodes that no array needs."""

import pickle
from typing import Any

from tests.hostile.pickle_writer import (
    NONE,
    PROTOCOL,
    STOP,
    array,
    built,
    called,
    integer,
    kind,
    listed,
    mapped,
    model,
    named,
    raw,
    several,
    sparse,
    stand_in,
    text,
)

# What files have called to run something, or to come nearer to it.
CALLABLES = (
    ('os', 'system'), ('posix', 'system'), ('nt', 'system'), ('subprocess', 'Popen'), ('builtins', 'eval'),
    ('__builtin__', 'eval'), ('builtins', 'exec'), ('builtins', 'getattr'), ('builtins', '__import__'),
    ('functools', 'partial'), ('runpy', '_run_code'), ('importlib', 'import_module'), ('operator', 'attrgetter'),
    ('types', 'FunctionType'), ('pickle', 'loads'), ('ctypes', 'CDLL'), ('numpy', 'load'), ('numpy', 'fromfile'),
    ('numpy.testing._private.utils', 'runstring'), ('numpy.core.multiarray', 'fromfile'), ('_codecs', 'decode'),
    ('copyreg', '__newobj__'), ('collections', 'defaultdict'), ('scipy', 'sparse'), ('chumpyx', 'Ch'),
    ('torch._utils', '_rebuild_tensor_v2'), ('numpy', 'dtype.__class__'), ('builtins', 'bytearray'),
)  # fmt: skip


class _Calls:
    """An object whose pickle calls os.system."""

    def __reduce__(self) -> tuple[Any, ...]:
        import os

        return os.system, ('echo code ran',)


def attacks_by_name() -> dict[str, bytes]:
    command = text('echo code ran')
    cases = {f'calls_{m}.{n}': model(J=called(named(m, n), command)) for m, n in CALLABLES}
    cases |= {f'object_in_protocol_{p}': pickle.dumps({'v_template': _Calls()}, p) for p in range(6)}
    rebuild = named('copyreg', '_reconstructor')
    evil = called(named('os', 'system'), command)
    cases |= {
        'stack_global': model(J=text('os') + text('system') + b'\x93' + several(command) + b'R'),
        'stand_in_that_paints': model(J=text('chumpy.\x1b[2J') + text('Ch') + b'\x93)R'),
        'stand_in_of_a_long_module': model(J=text('chumpy' + '.x' * 100_000) + text('Ch') + b'\x93)R'),
        'stack_global_of_numbers': model(J=integer(1) + integer(2) + b'\x93'),
        'dotted_stand_in': model(J=text('chumpy') + text('ch.os.system') + b'\x93' + several(command) + b'R'),
        'inside_an_array': model(J=built(array([0.0])[:-1], several(evil))),
        'inside_a_sparse_matrix': model(J_regressor=sparse(data=evil)),
        'inside_a_chumpy_array': model(J=stand_in('chumpy.ch', 'Ch', {'x': evil})),
        'inside_a_dropped_key': model(bs_style=evil),
        'as_a_key': PROTOCOL + mapped({evil: NONE}) + STOP,
        'in_a_set': model(J=called(named('builtins', 'set'), listed(evil))),
        'call_of_a_value': model(J=text('os.system') + several(command) + b'R'),
        'call_of_an_array': model(J=array([1.0]) + several(command) + b'R'),
        'call_without_a_tuple': model(J=named('chumpy.ch', 'Ch') + command + b'R'),
        'call_of_object': model(J=called(named('builtins', 'object'))),
        'call_of_ndarray': model(J=called(named('numpy', 'ndarray'), several(integer(4)))),
        'call_of_reconstructor': model(J=called(rebuild, named('numpy', 'ndarray'), NONE, NONE)),
        'bare_class': model(J=named('numpy', 'ndarray')),
        'persid': model(J=b'Pecho code ran\n'),
        'binpersid': model(J=command + b'Q'),
        'ext1': model(J=b'\x82\x01'),
        'ext2': model(J=b'\x83\x01\x00'),
        'ext4': model(J=b'\x84\x01\x00\x00\x00'),
        'inst': model(J=b'(' + command + b'ios\nsystem\n'),
        'obj': model(J=b'(' + named('os', 'system') + command + b'o'),
        'newobj_of_ndarray': model(J=named('numpy', 'ndarray') + several(several(integer(2**30))) + b'\x81'),
        'newobj_of_dtype': model(J=named('numpy', 'dtype') + several(text('O')) + b'\x81'),
        'newobj_of_text': model(J=text('chumpy.ch.Ch') + b')\x81'),
        'newobj_ex': model(J=named('chumpy.ch', 'Ch') + b')}\x92'),
        'next_buffer': model(J=b'\x97'),
        'readonly_buffer': model(J=raw(b'ab') + b'\x98'),
        'frozenset': model(J=b'(' + integer(1) + b'\x91'),
        'state_of_a_dict': model(J=built(b'}', several(integer(1)))),
        'state_of_a_class': model(J=built(named('chumpy.ch', 'Ch'), mapped({text('__reduce__'): text('x')}))),
        'state_of_bytes': model(J=built(called(named('_codecs', 'encode'), text('ab')), NONE)),
        'attributes_of_an_ordered_dict': model(J=built(called(named('collections', 'OrderedDict')), b'}')),
        'encode_by_a_codec': model(J=called(named('_codecs', 'encode'), text('ab'), text('zlib'))),
        'encode_of_wide_text': model(J=called(named('_codecs', 'encode'), text('\u4e00'), text('latin1'))),
        'dtype_as_a_value': model(J=kind('f8')),
    }  # fmt: skip
    return cases
