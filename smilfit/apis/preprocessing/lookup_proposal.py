"""Propose a joint lookup for annotations of a model, and show it."""

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
from matplotlib.figure import Figure

from smilfit.apis.model_options import LookupOptions
from smilfit.apis.options import with_options
from smilfit.apis.output_paths import check_not_an_input, check_output_file
from smilfit.apis.preprocessing.data_source import POINTS3D, DataSource
from smilfit.apis.preprocessing.session_source import (
    find_places,
    open_place,
    read_images,
    read_point_sessions,
)
from smilfit.body_models import BodyModelData, load_body_model_data
from smilfit.datasets.session_plan import AnySession
from smilfit.drawing.lookup_page import lookup_page
from smilfit.drawing.named_points import crop_around, plot_named_points
from smilfit.io.lookup_proposals import BodyAxes, ProposedRow, body_axes, propose_lookup, write_proposal
from smilfit.io.lookup_proposals.proposal import SKIN_SD
from smilfit.io.recordings.videos import USUAL_FPS
from smilfit.structures import Keypoints3d
from smilfit.structures.body import MILLIMETRES

# Points of an animal span between this share of its model's length and its inverse.
_LEAST_SHARE = 0.4


class LikelyUnit(NamedTuple):
    """A unit, the length of the points in it, and that of the model in mm."""

    unit: str
    points: float
    model_mm: float


def likely_unit(recordings: Sequence[Keypoints3d], data: BodyModelData) -> LikelyUnit | None:
    """Return the unit in which points would be of a size as the model's.

    None where the model's unit is not known, where there are no points, or where no unit makes them alike.

    Args:
        recordings: points (T, K, 3) of each.
        data: the model.
    """
    if data.unit not in MILLIMETRES:
        return None
    lengths = [_length(points) for points in recordings]
    known = [length for length in lengths if length is not None and length > 0]
    if not known:
        return None
    length, model = float(np.median(known)), data.rest_size * MILLIMETRES[data.unit]
    result = [u for u, mm in MILLIMETRES.items() if _LEAST_SHARE <= length * mm / model <= 1 / _LEAST_SHARE]
    return LikelyUnit(result[0], length, model) if len(result) == 1 else None


def _length(points: Keypoints3d) -> float | None:
    """Return the longest side of a frame's points, median over frames that have at least two; None without any."""
    xyz = np.where(points.confidence.numpy()[..., None] > 0, points.xyz.numpy(), np.nan)
    xyz = xyz[np.isfinite(xyz).all(-1).sum(-1) >= 2]
    if not len(xyz):
        return None
    return float(np.median((np.nanmax(xyz, 1) - np.nanmin(xyz, 1)).max(-1)))


# What a page shows: frames of the first session, and their first cameras.
FRAMES_SHOWN, CAMERAS_SHOWN = 2, 6


@dataclass(frozen=True)
class LookupProposal:
    """What was proposed and where it lies; without data there is no table.

    `likely_unit` is that of points in space whose unit nobody states; `taken_fps` are frames a second
    that were taken for points in space of which nobody states them.
    """

    body: BodyModelData
    axes: BodyAxes
    rows: list[ProposedRow]
    table: Path | None
    page: Path
    likely_unit: LikelyUnit | None = None
    taken_fps: float | None = None


@with_options(LookupOptions)
def propose_joint_lookup(
    body_model: str | Path,
    source: DataSource | None = None,
    out: str | Path | None = None,
    *,
    options: LookupOptions,
) -> LookupProposal:
    """Propose which place of a model each annotated keypoint is; write the table and a page that shows it.

    Args:
        body_model: the model's file.
        source: the annotations; None to show the model alone.
        out: the table to write, a `.csv` file.

    Raises:
        FileExistsError: a file is there already.
        ValueError: the data cannot be read, or the axes contradict each other.
    """
    body = load_body_model_data(body_model)
    table = None if source is None else Path(out or 'joint_lookup.csv')
    page = options.page
    if page is None:
        page = Path(f'{body.name}.keypoints.html') if table is None else table.with_suffix('.html')
    for path, what in ((table, 'OUT'), (Path(page), '--page')):
        if path is None:
            continue
        check_output_file(path, what)
        check_not_an_input(path, (body_model, *_input_files(source)), what)
        if path.exists() and not options.overwrite:
            raise FileExistsError(
                f'{what}: the file must not exist yet; {path} does. It may hold what somebody wrote by hand: choose '
                'another name, or give --force.'
            )
    axes = body_axes(body, options.up, options.forward)
    sessions = [] if source is None else _sessions(source, body)
    names = list(dict.fromkeys(name for session in sessions for name in session.keypoint_names))
    rows = propose_lookup(body, names, axes, SKIN_SD if options.offset_sd is None else options.offset_sd)
    figures = dict(_frames(sessions[0])) if sessions else {}
    drawn = lookup_page(body, axes, rows, figures, Path(page).parent)
    if table is not None:
        write_proposal(table, rows, body)
    drawn.save(page)
    of_points = source is not None and source.format == POINTS3D
    taken_fps = USUAL_FPS if of_points and not all(session.fps for session in sessions) else None
    return LookupProposal(
        body, axes, rows, table, Path(page), _likely_unit(source, sessions, body), taken_fps
    )


def _likely_unit(
    source: DataSource | None, sessions: Sequence[AnySession], body: BodyModelData
) -> LikelyUnit | None:
    if source is None or source.format != POINTS3D or any(session.unit for session in sessions):
        return None
    points = [result for session in sessions if (result := session.keypoints3d()) is not None]
    return likely_unit(points, body)


def _input_files(source: DataSource | None) -> list[Path]:
    return [Path(source.path)] if source is not None and Path(source.path).is_file() else []


def _sessions(source: DataSource, body: BodyModelData) -> Sequence[AnySession]:
    if source.format == POINTS3D:
        return read_point_sessions(source, body)
    places = find_places(source)
    if not places:
        return read_images(source, body)[0]
    return [
        open_place(
            place,
            confidence_threshold=0.0,
            with_3d=False,
            unit=source.unit,
            partial_labels=source.partial_labels,
            trim=source.trim,
        )
        for place in places
    ]


def _frames(session: AnySession) -> Iterator[tuple[str, Figure]]:
    """Draw the frames with most keypoints, in different parts of the session; none of points without images."""
    observed = session.keypoints2d()
    if observed is None:
        return
    xy, confidence = observed.xy.numpy(), observed.confidence.numpy()
    xy = np.where(confidence[..., None] > 0, xy, np.nan)
    count = (confidence > 0).sum((1, 2))
    parts = np.array_split(np.arange(len(count)), min(FRAMES_SHOWN, len(count)))
    wanted = [int(part[count[part].argmax()]) for part in parts]
    for index, images in session.frames(wanted):
        for camera, image in itertools.islice(images.items(), CAMERAS_SHOWN):
            points = xy[index, observed.rig.names.index(camera)]
            if np.isfinite(points).any():
                cut, moved = crop_around(image, points)
                title = f'{session.name}, frame {index}, camera {camera}'
                yield title, plot_named_points(cut, moved, observed.names, title)
