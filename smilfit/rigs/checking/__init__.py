"""Faults of a rigged model, found and told in words; each idea is a file of pure functions."""

from smilfit.rigs.checking.finding import ERROR, NOTE, SEVERITIES, WARNING, Finding
from smilfit.rigs.checking.run import CHECKS, Check, check_model

__all__ = ['CHECKS', 'ERROR', 'NOTE', 'SEVERITIES', 'WARNING', 'Check', 'Finding', 'check_model']
