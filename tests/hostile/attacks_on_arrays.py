"""Pickles whose arrays, matrices and stand-ins would reach beyond their memory."""

import struct

from tests.hostile.pickle_writer import (
    FALSE,
    NONE,
    TRUE,
    array,
    buffered,
    built,
    called,
    empty_array,
    fields_without_flags,
    filled,
    got,
    integer,
    kind,
    listed,
    mapped,
    model,
    named,
    objects,
    put,
    raw,
    real,
    several,
    sparse,
    stand_in,
    text,
)

POINTER = struct.pack('<Q', 0x414141414140)


def _state(*changes: tuple[int, bytes]) -> bytes:
    parts = [integer(3), text('<'), NONE, NONE, NONE, integer(-1), integer(-1), integer(0)]
    for place, value in changes:
        parts[place] = value
    return several(*parts)


def _attacks_on_dtypes() -> dict[str, bytes]:
    one, eight = several(integer(1)), raw(POINTER)
    fields = mapped({text('a'): several(kind('f8'), integer(0))})
    kinds = {
        'fields_without_flags': fields_without_flags(),
        'object': objects(),
        'object_without_flags': kind('O8'),
        'object_without_size': kind('O'),
        'void': kind('V8'),
        'complex': kind('c8'),
        'date': kind('M8'),
        'list_of_fields': kind('f8').replace(text('f8'), listed(several(text('a'), text('O')))),
        'comma_fields': kind('f4,O'),
        'subarray': kind('f8', _state((2, several(kind('O8'), one)))),
        'fields': kind('f8', _state((3, several(text('a'))), (4, fields))),
        'other_item_size': kind('f8', _state((5, integer(2**30)))),
        'text_item_size': kind('U2', _state((5, integer(4)))),
        'byte_order': kind('f8', _state((1, text('x')))),
        'short_state': kind('f8', several(integer(3), text('<'))),
        'state_of_text': kind('f8', text('<')),
        'state_twice': kind('f8') + _state() + b'b',
        'huge_text': kind('S2147483647'),
        'long_digits': kind('S' + '9' * 5000),
        'no_dtype': text('f8'),
        'extended': kind('f16'),
    }  # fmt: skip
    cases = {f'dtype_{name}': model(J=buffered(eight, dtype, one)) for name, dtype in kinds.items()}
    flagless = kinds['fields_without_flags']
    return cases | {
        'flags_in_v_template': model(v_template=buffered(eight, flagless, one)),
        'flags_in_a_state': model(J=filled(flagless, one, eight)),
        'flags_in_ndarray': model(J=called(named('numpy', 'ndarray'), one, flagless, eight)),
        'flags_in_a_scalar': model(J=called(named('numpy.core.multiarray', 'scalar'), flagless, eight)),
        'scalar_of_objects': model(J=called(named('numpy.core.multiarray', 'scalar'), objects(), NONE)),
        'scalar_too_short': model(J=called(named('numpy.core.multiarray', 'scalar'), kind('f8'), raw(b'a'))),
        'scalar_of_nothing': model(J=called(named('numpy.core.multiarray', 'scalar'))),
    }


def _attacks_on_memory() -> dict[str, bytes]:
    one, eight = several(integer(1)), raw(POINTER)
    pair = several(integer(2), integer(1))
    numbers = put(7, array([1.0]))
    other_state = several(integer(1), one, kind('u1'), FALSE, raw(b'a'))
    reconstruct = named('numpy.core.multiarray', '_reconstruct')
    shapes = {
        'negative': several(integer(-1)), 'beyond_64_bits': several(integer(2**70)), 'float': several(real(1.0)),
        'true': several(TRUE), 'text': text('1'), 'list': listed(integer(1)), 'many': several(*[integer(1)] * 40),
        'too_large': several(integer(2)), 'overflowing': several(integer(2**31), integer(2**31), integer(4)),
        'empty_and_endless': several(integer(2**31), integer(0)), 'nothing': NONE,
    }  # fmt: skip
    cases = {f'shape_{n}': model(J=buffered(raw(b'12345678'), kind('f8'), s)) for n, s in shapes.items()}
    cases['shape_empty_and_endless'] = model(J=buffered(raw(b''), kind('f8'), shapes['empty_and_endless']))
    object_array = filled(objects(), one, listed(several(integer(1))))
    return cases | {
        'second_state': model(J=built(numbers, other_state)),
        'item_of_an_array': model(J=numbers + integer(0) + integer(255) + b's'),
        'items_of_an_array': model(J=numbers + b'(' + integer(0) + integer(255) + b'u'),
        'append_to_an_array': model(J=numbers + integer(1) + b'a'),
        'alias_of_objects': model(J=called(named('numpy', 'ndarray'), several(integer(8)), kind('u1'), object_array)),
        'buffer_of_an_array': model(J=buffered(array([1.0]), kind('u1'), several(integer(8)))),
        'set_of_a_forged_array': model(J=called(named('builtins', 'set'), object_array)),
        'array_of_objects': model(J=object_array),
        'a_billion_objects': model(J=filled(objects(), several(integer(10**9)), listed())),
        'rebuilt_with_a_size': model(
            J=called(reconstruct, named('numpy', 'ndarray'), several(integer(2**33)), raw(b'b'))
        ),
        'rebuilt_as_matrix': model(J=called(reconstruct, named('numpy', 'matrix'), several(integer(0)), raw(b'b'))),
        'rebuilt_as_chumpy': model(J=called(reconstruct, named('chumpy', 'Ch'), several(integer(0)), raw(b'b'))),
        'rebuilt_without_state': model(J=empty_array()),
        'array_of_text_bytes': model(J=filled(kind('f8'), one, text('1234567\u4e00'))),
        'array_of_a_list': model(J=filled(kind('f8'), one, listed(real(1.0)))),
        'text_beyond_unicode': model(J_names=filled(kind('U1'), one, raw(b'\xff\xff\xff\x7f'))),
        'half_a_character': model(J_names=filled(kind('U1'), one, raw(b'\x00\xd8\x00\x00'))),
        'order_that_is_none': model(J=buffered(eight, kind('f8'), one, text('Z'))),
        'axes_twice': model(J=buffered(eight, kind('f4'), pair, text('K'), several(integer(0), integer(0)))),
        'axes_missing': model(J=buffered(eight, kind('f8'), one, text('K'))),
        'axes_outside': model(J=buffered(eight, kind('f8'), one, text('K'), several(integer(10**9)))),
    }  # fmt: skip


def _attacks_on_matrices() -> dict[str, bytes]:
    coo = {'row': array([0, 1], 'i4'), 'col': array([0, 1], 'i4')}
    changes = {
        'index_below': {'indices': array([0, -5], 'i4')},
        'index_beyond': {'indices': array([0, 10**8], 'i4')},
        'index_between': {'indices': array([0, 0.5])},
        'pointers_falling': {'indptr': array([0, 2**30, 2, 2, 2], 'i4')},
        'pointers_negative': {'indptr': array([-2, -1, 0, 1, 2], 'i4')},
        'pointers_short': {'indptr': array([0, 2], 'i4')},
        'numbers_short': {'data': array([1.0])},
        'numbers_of_text': {'data': text('ab')},
        'indices_missing': {'indices': NONE},
        'shape_of_terabytes': {'_shape': several(integer(10**6), integer(10**6))},
        'shape_beyond_64_bits': {'_shape': several(integer(2**70), integer(2**70))},
        'shape_negative': {'_shape': several(integer(-2), integer(4))},
        'shape_of_text': {'_shape': text('ab')},
        'shape_of_half_a_gigabyte': {
            '_shape': several(integer(33_000_000), integer(2)),
            'indices': array([0, 10**7], 'i4'),
            'indptr': array([0, 1, 2], 'i4'),
        },
        'shape_of_three': {'_shape': several(integer(2), integer(4), integer(1))},
        'itself_in_itself': {'data': sparse()},
    }
    cases = {f'sparse_{name}': model(J_regressor=sparse(**change)) for name, change in changes.items()}
    return cases | {
        'sparse_of_another_kind': model(J_regressor=sparse('dok_matrix')),
        'sparse_coordinates_below': model(
            J_regressor=sparse('coo_matrix', **coo | {'row': array([0, -1], 'i4')})
        ),
        'sparse_one_coordinate': model(J_regressor=sparse('coo_matrix', coords=several(array([0, 1], 'i4')))),
        'sparse_as_rows': model(J_regressor=sparse('csr_matrix', indices=array([9, 1], 'i4'))),
    }


def _attacks_on_chumpy() -> dict[str, bytes]:
    select = {'a': array([1.0, 2.0]), 'idxs': array([0, 1], 'i4')}
    selects = {
        'index_below': {'idxs': array([0, -1], 'i4')},
        'index_beyond': {'idxs': array([0, 10**9], 'i4')},
        'index_between': {'idxs': array([0, 0.5])},
        'chosen_indices': {'idxs': stand_in('chumpy.ch', 'Ch', {'x': array([0, 1], 'i4')})},
        'shape_unknown': {'preferred_shape': several(integer(-1))},
        'shape_too_large': {'preferred_shape': several(integer(2**40))},
        'shape_of_text': {'preferred_shape': text('ab')},
        'of_text': {'a': text('ab')},
    }
    cases = {
        f'select_{n}': model(J=stand_in('chumpy.reordering', 'Select', select | c))
        for n, c in selects.items()
    }
    chain = array([1.0])
    for _ in range(25):
        chain = stand_in('chumpy.ch', 'Ch', {'x': chain})
    return cases | {
        'chumpy_chain': model(J=chain),
        'chumpy_without_numbers': model(J=stand_in('chumpy.ch', 'Ch', {})),
        'chumpy_state_of_a_number': model(J=named('chumpy.ch', 'Ch') + b')\x81' + integer(1) + b'b'),
        'chumpy_holds_itself': model(
            J=put(5, named('chumpy.ch', 'Ch') + b')\x81') + mapped({text('x'): got(5)}) + b'b'
        ),
        'select_holds_itself': model(
            J=put(5, named('chumpy.reordering', 'Select') + b')\x81')
            + mapped({text('a'): got(5), text('idxs'): array([0], 'i4')})
            + b'b'
        ),
    }


def attacks_on_arrays() -> dict[str, bytes]:
    return _attacks_on_dtypes() | _attacks_on_memory() | _attacks_on_matrices() | _attacks_on_chumpy()
