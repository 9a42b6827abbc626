"""Small pickles of the real formats, in all protocols: what the fuzzer mutates and the layouts' tests read."""

import pickle
from collections import OrderedDict
from typing import Any

import numpy as np
import scipy.sparse

from tests.hostile import pickle_writer as write


def smil_arrays() -> dict[str, Any]:
    """A body model of 4 vertices and 2 joints with all keys that are read."""
    return {
        'v_template': np.eye(4, 3),
        'f': np.array([[0, 1, 2], [0, 2, 3]], np.int32),
        'weights': np.array([[1, 0], [1, 0], [0, 1], [0, 1]], np.float32),
        'kintree_table': np.array([[2**32 - 1, 0], [0, 1]], np.uint32),
        'J': np.zeros((2, 3)),
        'J_regressor': scipy.sparse.csc_matrix(np.eye(2, 4)),
        'J_names': ['root', 'tip'],
        'shapedirs': np.asfortranarray(np.arange(24.0).reshape(4, 3, 2)),
        'posedirs': np.zeros(0),
        'scaledirs': [],
        'transdirs': [],
        'shape_cov': np.eye(2),
        'shape_mean_betas': [0.5, -1.0],
        'sym_verts': np.array([0, 3]),
        'static_joint_locs': False,
        'joint_limits': np.zeros((2, 3, 2), '>f4'),
        'bs_style': 'lbs',
    }


def other_values() -> list[Any]:
    """What else is read: labels of a pose table, keypoints of a frame, a prior, and kinds of values in one dict."""
    columns = [
        ('DLC_resnet50', part, coord) for part in ('nose', 'tail') for coord in ('x', 'y', 'likelihood')
    ]
    return [
        [(1, columns)],
        np.arange(6.0).reshape(2, 3),
        {'mean_pose': np.zeros(3), 'cov': np.eye(3)},
        OrderedDict(
            a=1, b=[1.5, None, True, -(2**40), 'text', b'bytes', (), {}, {1, 2}, {'a', 'b'}, np.float32(2.5)]
        ),
        {
            1: scipy.sparse.csr_matrix(np.eye(2)),
            (1, 'a'): scipy.sparse.coo_matrix(np.eye(2)),
            None: np.array(['ab', 'ä\u4e00']),
            2.5: np.array([b'ab', b'c']),
            False: np.array([[True], [False]]),
            'wide': np.zeros((2, 3, 4), np.float16).transpose(1, 0, 2),
            'one': np.array(3),
        },
    ]


def chumpy_model() -> bytes:
    """A model as SMAL's authors write it: protocol 2, arrays wrapped by chumpy, one of them a choice of another."""
    choice = write.stand_in(
        'chumpy.reordering',
        'Select',
        {
            'a': write.stand_in('chumpy.ch', 'Ch', {'x': write.array(np.arange(48.0))}),
            'idxs': write.array(np.arange(24), 'i8'),
            'preferred_shape': write.several(write.integer(4), write.integer(3), write.integer(2)),
        },
    )
    return write.model(shapedirs=choice, bs_type=write.text('lrotmin'))


def python2_array() -> bytes:
    """A float array as Python 2 writes it in protocol 0: binary text with escapes, an old object's way of making."""
    text = repr(np.array([1.0, -2.5]).tobytes())[1:].encode()
    dtype = b"(cnumpy\ndtype\n(S'f8'\nI0\nI1\ntR(I3\nS'<'\nNNNI-1\nI-1\nI0\ntb"
    array = b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\n(I0\ntS'b'\ntR(I1\n(L2L\nt" + dtype[1:]
    wrapped = b"ccopy_reg\n_reconstructor\n(cchumpy.ch\nCh\nc__builtin__\nobject\nNtR(dS'x'\n" + array
    return b"(dS'a'\n" + wrapped + b'I00\nS' + text + b'\ntbsbs.'


def seeds() -> list[bytes]:
    """Return them all."""
    values = [smil_arrays(), *other_values()]
    return [pickle.dumps(value, p) for value in values for p in range(6)] + [chumpy_model(), python2_array()]
