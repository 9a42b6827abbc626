"""Fit a body model to every session of a dataset file, stage by stage."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from smilfit.apis.compute import PROCESS_TIMEOUT, chosen_device, torch_threads
from smilfit.apis.fit_run import FitRun, fit_dataset
from smilfit.apis.fit_session import FitOptions
from smilfit.apis.output_paths import check_not_an_input, check_output_folder
from smilfit.apis.progress import ProgressCallback, ignore
from smilfit.apis.video_choice import VideoChoice
from smilfit.solvers import DistributedProcesses, Processes
from smilfit.solvers.process_group import process_group


def fit(
    config: str | Path | Mapping[str, Any],
    data: str | Path,
    out: str | Path,
    *,
    body_model: str | Path | None = None,
    sessions: Sequence[str] = (),
    cfg_options: Mapping[str, Any] | None = None,
    device: str = 'cpu',
    threads: int = 1,
    window_px: int = 320,
    video: bool = True,
    video_every: int = 1,
    video_frames: tuple[int | None, int | None] | None = None,
    video_workers: int = 1,
    meshes: str | None = None,
    masks: str | Path | None = None,
    verdict: bool = True,
    verdict_thresholds: str | Path | None = None,
    overwrite: bool = False,
    landmarks: str | Path | None = None,
    launcher: str = 'none',
    progress: ProgressCallback | None = None,
) -> FitRun | None:
    """Fit sessions of a dataset file and write parameters, numbers, videos and one page of all.

    A session that is fitted the same way already is not fitted again; a run that was stopped goes on after its last
    whole session or window.

    Args:
        config: a registrant's config: a file, a shipped one's name such as `fit/multiview_keypoints.py`, or its dict.
        data: the dataset file.
        out: folder for the results.
        body_model: a body model file or a shipped model's name, instead of the config's or the dataset's.
        sessions: names of those to fit; all if none is given.
        cfg_options: overrides of the config by dotted key.
        device: 'cpu', 'cuda', 'cuda:0' (or another number) or 'auto'.
        threads: CPU threads of torch meanwhile; the tensors of a fit are small, more is slower.
        window_px: side of a camera in overlays, px; the animal fills three quarters of it.
        video: write overlay videos.
        video_every: show each so many-th frame, at as many frames a second: the video runs so many times as fast.
        video_frames: show frames of these numbers only, from the first and before the second; None is no limit.
        video_workers: processes that draw a recording's video, each some of the cameras, this one among them; 0 takes
            as many as cores and cameras allow if there are many frames. A script that takes more than one must have
            its calls under `if __name__ == '__main__':`.
        meshes: 'obj', 'ply' or 'none'; OBJ of images and none of recordings if None.
        masks: of a config with mask stages: 'grabcut', 'background', or a folder with SESSION/CAMERA/000000.png; as
            the config says if None.
        verdict: judge every fit, by fits of few frames without a camera and with shuffled keypoints, among others.
        verdict_thresholds: a file that replaces thresholds of the shipped one.
        overwrite: fit again what is fitted already.
        landmarks: `landmarks.json` of an earlier session of the same animal and lab: its landmarks are expected where
            that one's fit found them.
        launcher: what started the processes that share the work: 'none', 'pytorch' or 'slurm'.
        progress: called with a `Progress` by the first process.

    Returns:
        All results in the first process; None in the others.

    Raises:
        ConfigError: the config does not run.
        ValueError: a dataset of another body model, or one that lacks what a handler needs.
        KeyError: an unknown session, config key or stage key.
    """
    check_output_folder(out, '--out')
    if masks is not None and Path(masks).is_dir():
        check_not_an_input(out, (masks,), '--out')
    # Sums are small and taken on the CPU, on whatever device the bodies are: the CPU's way of talking serves.
    with torch_threads(threads), process_group(launcher, 'cpu', PROCESS_TIMEOUT):
        alone = launcher == 'none'
        processes = Processes() if alone else DistributedProcesses()
        options = FitOptions(
            sessions=tuple(sessions),
            device=chosen_device(device, alone),
            window_px=window_px,
            video=video,
            video_choice=VideoChoice(video_every, *(video_frames or ())),
            video_workers=video_workers,
            overwrite=overwrite,
            mesh_format=meshes or '',
            masks=masks,
            verdict=verdict,
            thresholds=verdict_thresholds,
            landmarks=landmarks,
            progress=progress if progress is not None and processes.rank == 0 else ignore,
        )
        return fit_dataset(config, data, out, body_model, cfg_options, options, processes)
