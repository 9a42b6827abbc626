"""Options of `register`."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from smilfit.apis.options import UNITS, launched_by, option, reported
from smilfit.apis.progress import ProgressCallback


@dataclass(frozen=True)
class RegisterOptions:
    """How scans are registered."""

    body_model: str | Path | None = option(
        None,
        "body model file, quadruped or insect, or a template mesh without a skeleton; instead of the config's",
        metavar='FILE|NAME',
    )
    unit: str | None = option(
        None,
        "of the scans' coordinates; without it lengths are in the files' own unit, and are not called mm",
        choices=UNITS,
    )
    threads: int = option(1, 'CPU threads', low=1, high=1024)
    launcher: str = launched_by('that share the scans')
    overwrite: bool = option(False, 'register again what is registered already')
    cfg_options: Mapping[str, Any] | None = option(
        None, "override the config's values, such as n_starts=6", metavar='KEY=VALUE'
    )
    progress: ProgressCallback | None = reported('called with a `Progress` by the first process')
