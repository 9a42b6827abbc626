"""Find and read what is preprocessed: calibrated sessions of several cameras, annotated images, points in space."""

import inspect
import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from smilfit.apis.output_paths import check_not_an_input
from smilfit.apis.preprocessing.data_source import (
    SLEAP,
    DataSource,
    annotation_readers,
    session_formats,
    session_kinds,
)
from smilfit.body_models import BodyModelData
from smilfit.body_models.keypoint_rows import keypoint_definitions
from smilfit.datasets import ImageSession, PreprocessOptions, image_sessions
from smilfit.io import (
    RecordedSession,
    SessionPlace,
    check_lookup,
    load_keypoint_map,
    read_calibration,
    read_joint_lookup,
)
from smilfit.io.annotations import check_images
from smilfit.io.points import PointSession, read_recorded_points, read_skeleton
from smilfit.io.recordings.identities import same_animals, untangled
from smilfit.io.recordings.sleap_labels import report_high_peaks
from smilfit.registry import SESSIONS, UnknownNameError, did_you_mean
from smilfit.structures import AnnotationSet, SkippedAnnotation

logger = logging.getLogger('smilfit')

# What is wrong with one session's files; the others of a batch are none the worse for it.
UNUSABLE = (OSError, ValueError, KeyError)


def find_places(source: DataSource, report: bool = True) -> list[SessionPlace]:
    """Find the calibrated sessions of several cameras; none where a source is of single views.

    Which of both is taken is logged where a source could be either, unless `report` is False.

    Raises:
        FileNotFoundError: no such folder, or a folder of SLEAP's without a session.
    """
    if source.format not in session_formats() or (
        source.single_view and source.format in annotation_readers()
    ):
        return []
    path, problem = Path(source.path), None
    if source.format != SLEAP and not path.is_dir():
        return []
    # A file that holds sessions states so itself; folders are looked through after it.
    for kind in sorted(session_kinds(source.format), key=lambda kind: kind.__name__ == 'SleapSession'):
        try:
            result = kind.find(path, **_search(source)) if path.exists() else []
        except FileNotFoundError as error:
            problem = error
            continue
        except NotADirectoryError:
            continue
        if result:
            if report:
                _report_kind(source, result)
            return result
    if source.format == SLEAP:
        if path.is_file() and SLEAP in annotation_readers():
            return []
        raise problem or FileNotFoundError(f'{path}: sessions must be in a folder; there is no such folder.')
    if not report:
        return []
    logger.warning(
        '%s: no calibrated session of several cameras is found; each camera is read as single views of its own. A '
        'session needs a calibration.toml (or --calibration FILE) whose cameras have their names in those of videos '
        'and tables (or --cam-regex PATTERN). --single-view says that single views are meant.',
        path,
    )
    return []


def _report_kind(source: DataSource, places: Sequence[SessionPlace]) -> None:
    if source.format == SLEAP and Path(source.path).is_dir() and places[0].kind == 'SleapSession':
        return
    logger.info(
        '%s: read as %d calibrated session(s) of several cameras (%s); --single-view reads each camera alone.',
        source.path,
        len(places),
        ', '.join(dict.fromkeys(camera for place in places for camera in place.cameras)),
    )


def _search(source: DataSource) -> dict[str, object]:
    return {
        'calibration': source.calibration,
        'cam_regex': source.reader.get('cam_regex') or source.cam_regex,
        'scorer': source.scorer,
        'videos': source.images,
    }


def open_place(place: SessionPlace, **arguments: Any) -> RecordedSession:
    """Open a session.

    Raises:
        ValueError: files that contradict each other; and what else its kind refuses.
    """
    kind = SESSIONS.get(place.kind)
    known = inspect.signature(kind).parameters
    # One that no kind but this has, such as `use_reprojections`.
    unknown = [name for name, value in arguments.items() if name == 'use_reprojections' and name not in known]
    if any(arguments[name] for name in unknown):
        raise ValueError(
            f'{place.folder}: use_reprojections must go with SLEAP folders, which have reprojections.h5; this is '
            f'read by {place.kind}. Leave --use-reprojections away.'
        )
    given = {name: value for name, value in arguments.items() if name not in unknown}
    return kind(place.folder, **place.arguments, **given)


def read_sessions(
    places: Sequence[SessionPlace],
    source: DataSource,
    body: BodyModelData,
    options: PreprocessOptions,
    out: Path,
) -> tuple[list[RecordedSession], list[SkippedAnnotation]]:
    """Open the sessions that were found; one that cannot be used is left out unless it is the only one.

    Args:
        places: where they are.
        source: how they are read.
        body: the body model whose keypoints the lookup names.
        options: what is kept of a session.
        out: the dataset file to be, which must not lie among the inputs.

    Returns:
        The sessions, and those left out with their reasons.

    Raises:
        KeyError: a camera that no session has, or a lookup of other names.
        ValueError: `out` is one of the inputs, or no session can be used.
    """
    _check_lookup(source, read_joint_lookup(source.keypoint_map) if source.keypoint_map else None, body)
    check_not_an_input(out, [path for place in places for path in place.inputs], 'OUT')
    excluded = _excluded_of(places, options.exclude_cameras)
    sessions: list[RecordedSession] = []
    skipped: list[SkippedAnnotation] = []
    first: Exception | None = None
    for place, exclude in zip(places, excluded):
        try:
            sessions += _open_animals(place, exclude, source, options)
        except UNUSABLE as error:
            if len(places) == 1:
                raise
            first = first or error
            skipped.append(SkippedAnnotation(str(place.folder), str(error)))
            logger.warning('%s: the session is left out: %s', place.folder, error)
    if not sessions and first is not None:
        raise first
    for session in sessions:
        for camera in session.camera_names:
            report_high_peaks(f'{session.name}, camera {camera}', session.report[camera]['scores_above_1'])
        _report_animals(session)
    return sessions, skipped


def _report_animals(session: RecordedSession) -> None:
    """Report what a file itself states of which animal is which."""
    known = session.report.get('identities', {})
    if 'told_by' not in known:
        return
    changed = known.get('instances_of_other_tracks', {})
    notes = ', '.join(f'{n} in camera {camera}' for camera, n in changed.items())
    logger.info(
        "%s: told from other animals by the file's %s%s.",
        session.name,
        known['told_by'],
        f', against the tracks of {notes}' if notes else '',
    )


def _open_animals(
    place: SessionPlace, exclude: Sequence[str], source: DataSource, options: PreprocessOptions
) -> list[RecordedSession]:
    """Open a session once for every animal that is read, each with its own labels in every camera and frame."""

    def opened(
        track: str | None,
        with_3d: bool = not options.no_3d_data,
        other_names: Mapping[str, str] | None = None,
    ) -> RecordedSession:
        return open_place(
            place,
            track=track,
            joint_lookup=source.keypoint_map,
            exclude_cameras=exclude,
            # The pipeline applies the threshold, so that it can count what falls below.
            confidence_threshold=0.0,
            use_reprojections=options.use_reprojections,
            with_3d=with_3d,
            unit=source.unit,
            partial_labels=source.partial_labels,
            trim=source.trim,
            other_names=other_names,
            # The pipeline judges all of it, and refuses.
            judge=False,
        )

    def settled(animals: list[RecordedSession]) -> list[RecordedSession]:
        calibrated = len(animals) > 1 and animals[0].cameras is not None
        return untangled(animals) if calibrated and not source.keep_tracks else animals

    individuals = source.reader.get('individuals')
    if source.reader.get('instance') != 'each' and not individuals:
        return [opened(None)]
    if individuals:
        return settled([opened(name) for name in individuals])
    # Tracks are those of all animals, 3D points of one: nothing but names is asked for.
    result = opened(None, with_3d=False).tracks
    for camera, tracks in result.items():
        if not tracks:
            raise ValueError(
                f"{place.folder}: instances must have tracks for --instance each; camera {camera!r}'s have none. "
                'Track them in SLEAP (of a multi-view project, identities will do), or leave --instance away.'
            )
    first, *others = result.values()
    if all(set(tracks) == set(first) for tracks in others):
        return settled([opened(name) for name in first])
    if any(len(tracks) != len(first) for tracks in others) or source.keep_tracks:
        named = '; '.join(f'{camera}: {", ".join(tracks)}' for camera, tracks in result.items())
        raise ValueError(
            f'{place.folder}: tracks must have one name in all cameras for --instance each, or be as many in all '
            f'without --keep-tracks; got {named}. Join or rename them in SLEAP.'
        )
    # 3D points do not state which track they are of where cameras have names of their own.
    rows = [{camera: tracks[i] for camera, tracks in result.items()} for i in range(len(first))]
    animals = same_animals([opened(name, False, row) for name, row in zip(first, rows)])
    for animal in animals:
        notes = animal.report['identities']['tracks']
        logger.info(
            '%s: by where labels meet, it is %s.',
            animal.name,
            ', '.join(f'{t} in {c}' for c, t in notes.items()),
        )
    return settled(animals)


def _excluded_of(places: Sequence[SessionPlace], exclude: Sequence[str]) -> list[tuple[str, ...]]:
    """Return each session the excluded cameras that it has; every name must be in some session."""
    everywhere = dict.fromkeys(camera for place in places for camera in place.cameras)
    for name in exclude:
        if name not in everywhere:
            raise UnknownNameError(
                f'--exclude-cameras: no camera {name!r}. {did_you_mean(name, sorted(everywhere))}'
            )
    return [tuple(name for name in exclude if name in place.cameras) for place in places]


def read_images(
    source: DataSource, body: BodyModelData
) -> tuple[Sequence[ImageSession], tuple[SkippedAnnotation, ...]]:
    """Read annotations and make sessions of them.

    Returns:
        The sessions, and the entries that were left out.

    Raises:
        KeyError: a lookup of other names, or a category that no entry has.
        ValueError: the file is not of its format, or no entry can be used.
    """
    lookup = load_keypoint_map(source.keypoint_map) if source.keypoint_map else None
    _check_lookup(source, lookup, body)
    annotations = _reader(source).read(source.path)
    if source.category is not None:
        annotations = of_category(annotations, source.category)
    annotations = check_images(annotations)
    sessions, repeated = image_sessions(annotations, lookup, source.unit, source.focal_px)
    left_out = (*annotations.skipped, *repeated)
    if not sessions:
        first = f'; the first is {left_out[0].where}: {left_out[0].reason}' if left_out else ''
        raise ValueError(f'{source.path}: an entry must be usable; all {len(left_out)} are left out{first}')
    return sessions, left_out


def _reader(source: DataSource) -> Any:
    reader = annotation_readers()[source.format]
    given = dict(source.reader)
    # A reader of somebody else's may have a constructor that takes neither.
    if 'images' in inspect.signature(reader).parameters:
        given['images'] = source.images
    made = reader(**given)
    if source.images is not None:
        made.images = source.images
    made.allow_outside_images = source.allow_outside_images
    return made


def of_category(annotations: AnnotationSet, category: str) -> AnnotationSet:
    """Take the entries of one category.

    Raises:
        KeyError: no entry is of it; names the near ones.
    """
    images = tuple(image for image in annotations.images if image.category == category)
    if not images:
        known = sorted({image.category for image in annotations.images})
        raise UnknownNameError(
            f'--category: no entry is of category {category!r}. {did_you_mean(category, known)}'
        )
    return replace(annotations, images=images)


def read_point_sessions(source: DataSource, body: BodyModelData) -> list[PointSession]:
    """Open files of points in space; a file of several animals is a session each, called `FILE+ANIMAL`.

    Args:
        source: one file, or several.
        body: the body model whose keypoints the lookup names.

    Raises:
        FileNotFoundError: no such file.
        ValueError: a file that cannot be read; the message names it.
        KeyError: a lookup of other names.
    """
    _check_lookup(source, read_joint_lookup(source.keypoint_map) if source.keypoint_map else None, body)
    skeleton = None if source.skeleton is None else read_skeleton(source.skeleton)
    cameras = None if source.calibration is None else read_calibration(source.calibration, source.unit)
    result = []
    for path in source.paths:
        # Of a session's folder its points3d.h5.
        file = path / 'points3d.h5' if path.is_dir() else path
        points = read_recorded_points(file, skeleton, source.image_size)
        result += [
            # The pipeline judges cameras, and refuses.
            PointSession(points, animal, source.keypoint_map, source.unit, source.fps, cameras, judge=False)
            for animal in range(len(points.animals))
        ]
    return result


def _check_lookup(source: DataSource, lookup: Mapping[str, str] | None, body: BodyModelData) -> None:
    if lookup is not None:
        check_lookup(lookup, model_names=keypoint_definitions(body), where=str(source.keypoint_map))
