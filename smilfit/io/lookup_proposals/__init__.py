"""Propose a joint lookup from names: synonyms, sides, chains of joints, and points of the skin."""

from smilfit.io.lookup_proposals.body_axes import BodyAxes, axes_by_names, body_axes
from smilfit.io.lookup_proposals.proposal import CONFIDENCES, ProposedRow, propose_lookup, write_proposal

__all__ = [
    'CONFIDENCES',
    'BodyAxes',
    'ProposedRow',
    'axes_by_names',
    'body_axes',
    'propose_lookup',
    'write_proposal',
]
