"""Faults of a rigged model, found and told in words; each idea is a file of pure functions."""

from smilfit.rigs.checking.all_checks import CHECKS, Check, check_model
from smilfit.rigs.checking.findings import ERROR, NOTE, SEVERITIES, WARNING, Finding

__all__ = ['CHECKS', 'ERROR', 'NOTE', 'SEVERITIES', 'WARNING', 'Check', 'Finding', 'check_model']
