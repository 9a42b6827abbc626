"""Fit a body model to every session of a dataset file, stage by stage."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from smilfit.apis.compute import PROCESS_TIMEOUT, chosen_device, torch_threads
from smilfit.apis.fit_options import FitOptions
from smilfit.apis.fit_run import FitRun, fit_dataset
from smilfit.apis.options import with_options
from smilfit.apis.output_paths import check_not_an_input, check_output_folder
from smilfit.apis.progress import ignore
from smilfit.solvers import DistributedProcesses, Processes
from smilfit.solvers.process_group import process_group


@with_options(FitOptions)
def fit(
    config: str | Path | Mapping[str, Any], data: str | Path, out: str | Path, options: FitOptions
) -> FitRun | None:
    """Fit sessions of a dataset file and write parameters, numbers, videos and one page of all.

    A session that is fitted the same way already is not fitted again; a run that was stopped goes on after its last
    whole session or window.

    Args:
        config: a registrant's config: a file, a shipped one's name such as `fit/multiview_keypoints.py`, or its dict.
        data: the dataset file.
        out: folder for the results.

    Returns:
        All results in the first process; None in the others.

    Raises:
        ConfigError: the config does not run.
        ValueError: a dataset of another body model, or one that lacks what a handler needs.
        KeyError: an unknown session, config key or stage key.
    """
    check_output_folder(out, '--out')
    if options.masks is not None and Path(options.masks).is_dir():
        check_not_an_input(out, (options.masks,), '--out')
    # Sums are small and taken on the CPU, on whatever device the bodies are: the CPU's way of talking serves.
    with torch_threads(options.threads), process_group(options.launcher, 'cpu', PROCESS_TIMEOUT):
        alone = options.launcher == 'none'
        processes = Processes() if alone else DistributedProcesses()
        own = replace(
            options,
            device=chosen_device(options.device, alone),
            progress=options.progress if processes.rank == 0 else ignore,
        )
        return fit_dataset(config, data, out, own, processes)
