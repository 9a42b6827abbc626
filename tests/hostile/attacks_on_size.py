"""Short pickles that would take all memory or never end, and bytes that are no whole pickle."""

import struct

from tests.hostile.pickle_writer import (
    FALSE,
    NONE,
    PROTOCOL,
    STOP,
    array,
    buffered,
    called,
    filled,
    got,
    integer,
    kind,
    listed,
    mapped,
    model,
    model_dict,
    named,
    put,
    raw,
    real,
    several,
    stand_in,
    text,
)

LEVELS = 40


def _doubled(pair: bytes, end: bytes, start: bytes = b'') -> bytes:
    """Write a value of two references to a value of two references ...: 2 ** LEVELS when written out."""
    # POP leaves nothing but the memo.
    levels = put(100, start or integer(1)) + b'0'
    for level in range(100, 100 + LEVELS):
        levels += put(level + 1, b'(' + pair.replace(b'@', got(level)) + end) + b'0'
    return levels + got(100 + LEVELS)


def _tuples() -> bytes:
    return _doubled(b'@@', b't')


def _hash_bombs() -> dict[str, bytes]:
    bomb = _tuples()
    as_set = called(named('builtins', 'set'), listed(bomb))
    return {
        'hash_bomb_key': model(J=mapped({bomb: NONE})),
        'hash_bomb_outermost_key': PROTOCOL + mapped({bomb: NONE}) + STOP,
        'hash_bomb_in_a_set': model(J=as_set),
        'hash_bomb_added': model(J=b'\x8f(' + bomb + b'\x90'),
        'hash_bomb_in_an_ordered_dict': model(
            J=called(named('collections', 'OrderedDict'), listed(listed(bomb, NONE)))
        ),
        'hash_bomb_attribute': model(J=named('chumpy.ch', 'Ch') + b')\x81' + mapped({bomb: NONE}) + b'b'),
        'key_a_list': model(J=mapped({listed(): NONE})),
        'key_a_dict': model(J=mapped({b'}': NONE})),
        'key_an_array': model(J=mapped({array([1.0]): NONE})),
        'key_a_stand_in': model(J=mapped({stand_in('chumpy.ch', 'Ch', {}): NONE})),
        'key_a_tuple_of_tuples': model(J=mapped({several(several(integer(1))): NONE})),
        'keys_that_collide': model(J=mapped({integer(i * (2**61 - 1)): NONE for i in range(1, 3000)})),
        'tuple_keys_without_end': model(
            J=mapped({several(integer(i), integer(i)): NONE for i in range(3000)})
        ),
        'set_that_collides': model(
            J=called(named('builtins', 'set'), listed(*[integer(i * (2**61 - 1)) for i in range(1, 3000)]))
        ),
        'set_of_floats': model(J=called(named('builtins', 'set'), listed(real(1.0)))),
        'set_of_text': model(J=called(named('builtins', 'set'), text('ab'))),
    }


def _text_bombs() -> dict[str, bytes]:
    bomb, one = _tuples(), several(integer(1))
    long = text('x' * 200_000)
    return {
        'shown_value': model(J=buffered(bomb, kind('f8'), one)),
        'shown_shape': model(J=buffered(raw(b'12345678'), kind('f8'), bomb)),
        'shown_long_shape': model(
            J=buffered(raw(b'12345678'), kind('f8'), several(*[integer(2**31)] * 20_000))
        ),
        'shown_encoding': model(J=called(named('_codecs', 'encode'), text('a'), bomb)),
        'shown_long_encoding': model(J=called(named('_codecs', 'encode'), text('a'), long)),
        'shown_dtype': model(J=buffered(raw(b'12345678'), called(named('numpy', 'dtype'), bomb), one)),
        'shown_long_dtype': model(J=buffered(raw(b'12345678'), kind('f' * 200_000), one)),
        'shown_name': model(J=text('os') + bomb + b'\x93'),
        'shown_long_name': model(J=long + long + b'\x93'),
        'shown_line': model(J=b'c' + b'o' * 200_000 + b'\nsystem\n'),
        'shown_call': model(J=bomb + b')R'),
        'shown_label': model(J_names=listed(bomb, bomb)),
        'shown_keys': PROTOCOL + mapped({text(f'{i}' * 300): NONE for i in range(500)}) + STOP,
        'shown_state': model(J=stand_in('chumpy.ch', 'Ch', {f'{i}' * 300: NONE for i in range(500)})),
        'shown_index': model(J=b'g' + b'9' * 200_000 + b'\n'),
    }


def _bombs() -> dict[str, bytes]:
    numbers, one = array([1.0] * 2000), several(integer(1))
    itself = {
        'list': put(5, b']') + got(5) + b'a',
        'dict': put(5, b'}') + text('a') + got(5) + b's',
        'tuple_in_a_list': put(5, b']') + several(got(5)) + b'a',
        'set': put(5, b'\x8f') + b'(' + got(5) + b'\x90',
        'ordered_dict': put(5, called(named('collections', 'OrderedDict'))) + text('a') + got(5) + b's',
        'array': put(5, filled(kind('f8'), one, raw(b'12345678'))[:-1]) + b'0' + listed(got(5)) + b'b',
    }
    cases = {f'{name}_in_itself': model(J=value) for name, value in itself.items()}
    deep = 20_000
    return cases | {
        'lists_of_lists': model(J=_doubled(b'@@', b'l')),
        'lists_of_lists_as_weights': model(weights=_doubled(b'@@', b'l')),
        'dicts_of_dicts': model(J=_doubled(text('a') + b'@' + text('b') + b'@', b'd')),
        'stand_ins_of_stand_ins': model(J=_doubled(b'@@', b't', stand_in('chumpy.ch', 'Ch', {}))),
        'choices_of_choices': model(J=_choices()),
        'one_array_often': model(weights=put(5, numbers) + b'0' + listed(*[got(5)] * 20_000)),
        'one_text_often': model(J_names=put(5, text('x' * 20_000)) + b'0' + listed(*[got(5)] * 20_000)),
        'table_of_text': model(weights=listed(text('x' * 100_000), *[text('')] * 50_000)),
        'deep_lists': model(J=b'(' * 900 + b'l' * 900),
        'deep_marks': model(J=b'(' * deep + b'l' * deep),
        'deep_appends': model(J=b']' * deep + b'a' * (deep - 1)),
        'deep_tuples': model(J=b'N' + b'\x85' * 1_000_000),
        'deep_chumpy': model(
            J=(named('chumpy.ch', 'Ch') + b')\x81}' + text('x')) * deep + NONE + b'sb' * deep
        ),
        'deep_list_of_numbers': model(weights=b'(' * 40 + integer(1) + b'l' * 40),
        'a_million_values': PROTOCOL + NONE * 1_000_000 + STOP,
        'a_million_dicts': PROTOCOL + b'}' * 1_000_000 + STOP,
        'a_million_copies': PROTOCOL + b']' + b'2' * 1_000_000 + STOP,
        'more_opcodes_than_allowed': PROTOCOL + b'N0' * 1_000_001 + NONE + STOP,
    }


def _choices() -> bytes:
    """Write a chumpy choice whose array and whose indices are choices, and so on."""
    level = (
        put(100, stand_in('chumpy.reordering', 'Select', {'a': array([0], 'i4'), 'idxs': array([0], 'i4')}))
        + b'0'
    )
    for n in range(100, 110):
        inner = stand_in('chumpy.reordering', 'Select', {'a': got(n), 'idxs': got(n)})
        level += put(n + 1, inner) + b'0'
    return level + got(110)


def _lengths() -> dict[str, bytes]:
    return {
        'memo_index': b'\x80\x04Nr\xff\xff\xff\x1f.',
        'memo_index_inside': model(J=NONE + b'r\xff\xff\xff\xff'),
        'memo_index_of_digits': model(J=NONE + b'p' + b'9' * 10_000 + b'\n'),
        'memo_index_negative': model(J=NONE + b'p-1\ng-2\n'),
        'memo_never_put': model(J=b'h\x09'),
        'memo_of_nothing': PROTOCOL + b'\x94' + STOP,
        'text_of_exabytes': model(J=b'\x8d' + struct.pack('<Q', 2**63)),
        'text_of_gigabytes': model(J=b'X' + struct.pack('<I', 2**32 - 1)),
        'bytes_of_exabytes': model(J=b'\x8e' + struct.pack('<Q', 2**62)),
        'bytearray_of_exabytes': model(J=b'\x96' + struct.pack('<Q', 2**62)),
        'text_of_negative_length': model(J=b'T' + struct.pack('<i', -1)),
        'frame_of_exabytes': PROTOCOL + b'\x95' + struct.pack('<Q', 2**63) + NONE + STOP,
        'integer_of_gigabytes': model(J=b'\x8b' + struct.pack('<i', 2**31 - 1)),
        'integer_of_negative_length': model(J=b'\x8b' + struct.pack('<i', -1)),
        'integer_of_255_bytes': model(J=b'\x8a\xff' + b'\x7f' * 255),
        'integer_of_a_million_digits': model(J=b'L' + b'9' * 1_000_000 + b'L\n'),
        'short_integer_of_a_million_digits': model(J=b'I' + b'9' * 1_000_000 + b'\n'),
        'integer_that_is_none': model(J=b'Iab\n'),
        'float_of_a_million_digits': model(J=b'F' + b'9' * 1_000_000 + b'\n'),
        'float_that_is_none': model(J=b'Fabc\n'),
    }


def _broken() -> dict[str, bytes]:
    whole = model()
    cuts = (1, 2, 3, 10, len(whole) // 2, len(whole) - 1)
    cases = {f'cut_at_{n}': whole[:n] for n in cuts}
    return cases | {
        'nothing': b'',
        'stop_alone': STOP,
        'zeros': bytes(100),
        'text_file': b'v_template: 1 2 3\n',
        'unknown_opcode': model(J=b'\xff'),
        'unknown_protocol': b'\x80\xff' + model_dict() + STOP,
        'second_protocol': model(J=NONE + b'\x80\x04'),
        'bytes_after_the_end': whole + b'\x80\x04N.',
        'two_values': PROTOCOL + NONE + NONE + STOP,
        'open_mark': PROTOCOL + NONE + b'(' + STOP,
        'popped_too_often': model(J=b'000000'),
        'no_mark': PROTOCOL + NONE + b't' + STOP,
        'key_without_a_value': model(J=b'(' + NONE + b'd'),
        'text_that_is_no_utf8': model(J=b'X\x02\0\0\0\xff\xff'),
        'text_of_half_a_character': model(J=b'V\\ud800\n'),
        'text_without_quotes': model(J=b'Sabc\n'),
        'text_with_an_escape': model(J=b"S'\\q'\n"),
        'text_with_a_line_break': model(J=b"S'abc"),
        'set_items_of_a_list': model(J=b'](' + NONE + NONE + b'u'),
        'append_to_a_dict': model(J=b'}' + NONE + b'a'),
        'add_to_a_list': model(J=b'](' + NONE + b'\x90'),
        'a_list': PROTOCOL + b']' + STOP,
        'a_number': PROTOCOL + FALSE + STOP,
    }


def attacks_on_size() -> dict[str, bytes]:
    return _hash_bombs() | _text_bombs() | _bombs() | _lengths() | _broken()
