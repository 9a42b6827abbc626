"""The page beside a proposed joint lookup: its rows, the model from several sides, and labelled frames."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from smilfit.body_models.data import BodyModelData, Landmark
from smilfit.body_models.keypoint_rows import keypoint_definitions
from smilfit.drawing.marks import ANNOTATED, FITTED, Dot
from smilfit.drawing.named_points import NamedPoint, Side, model_views
from smilfit.drawing.report import PageImage, Report
from smilfit.io.landmark_rows import landmark_of
from smilfit.io.lookup import LookupRow
from smilfit.io.lookup_proposals import BodyAxes, ProposedRow

_IN_JOINT = Dot('in a joint', ANNOTATED.colour)
_ON_SKIN = Dot('on the skin, or a joint with an offset', FITTED.colour)


def lookup_page(
    body: BodyModelData,
    axes: BodyAxes,
    rows: Sequence[ProposedRow],
    frames: Mapping[str, PageImage],
    folder: Path | None = None,
) -> Report:
    """Make the page.

    Args:
        axes: where its sides are.
        rows: the proposed lookup; none where there are no data, then the page shows the model alone.
        frames: figures of labelled frames by caption.
    """
    empty = [row.data for row in rows if not row.model]
    lines = [f'{body.name}: {body.n_joints} joints, {body.n_vertices} vertices. Axes: {axes.source}.']
    if rows:
        result = len(rows) - len(empty)
        lines.append(
            f'{result} of {len(rows)} annotated keypoints have a proposed place. Look at each one below.'
        )
    if empty:
        lines.append(f'Without a place: {", ".join(empty)}. Write one into the table, or leave them out.')
    page = Report('Joint lookup' if rows else 'Keypoints of the model', lines, folder)
    if rows:
        page.add_section('The proposed table')
        page.add_table([_shown(row) for row in rows])
        page.add_section(
            'The places on the model',
            'Names are those of the annotation. From the sides and the front only what is in view is named.',
        )
        _add_views(page, body, axes, _points_of(rows, body))
        page.add_section('Labelled frames')
        for caption, figure in frames.items():
            page.add_figure(figure, caption)
    page.add_section('All joints of the model')
    joints = [NamedPoint(n, _triple(xyz)) for n, xyz in zip(body.joint_names, body.joints)]
    _add_views(page, body, axes, joints)
    _add_keypoint_sets(page, body, axes)
    return page


def _add_keypoint_sets(page: Report, body: BodyModelData, axes: BodyAxes) -> None:
    for name, definitions in body.keypoint_sets.items():
        page.add_section(f'Keypoint set {name}')
        points = [
            NamedPoint(keypoint, place_of(definition, body), not isinstance(definition, str))
            for keypoint, definition in definitions.items()
        ]
        _add_views(page, body, axes, points)


def _add_views(page: Report, body: BodyModelData, axes: BodyAxes, points: Sequence[NamedPoint]) -> None:
    sides = {
        'from the left': Side(axes.left, axes.up, near_half=True),
        'from the right': Side(-axes.left, axes.up, near_half=True),
        'from above': Side(axes.up, axes.forward),
        'from the front': Side(axes.forward, axes.up, near_half=True),
    }
    page.add_legend((_IN_JOINT, _ON_SKIN))
    views = model_views(body.v_template, body.faces, points, sides)
    page.add_images(list(views.values()))


def _points_of(rows: Sequence[ProposedRow], body: BodyModelData) -> list[NamedPoint]:
    table = keypoint_definitions(body)
    points = []
    for row in rows:
        if row.cells:
            stated = landmark_of(LookupRow(row.data, row.model, row.data, row.cells), body)
            points.append(NamedPoint(row.data, _place(stated, body), True))
        elif row.model:
            mark = body.landmarks.get(row.model)
            xyz = _place(mark, body) if mark else place_of(table[row.model], body)
            points.append(
                NamedPoint(row.data, xyz, mark is not None or not isinstance(table[row.model], str))
            )
    return points


def _place(mark: Landmark, body: BodyModelData) -> tuple[float, float, float]:
    # At rest the bones' frames are the model's own.
    return _triple(np.array(place_of(mark.anchor, body)) + mark.offset)


def place_of(definition: str | Mapping[int, float], body: BodyModelData) -> tuple[float, float, float]:
    """Return where a joint or a weighted few vertices lie at rest."""
    if isinstance(definition, str):
        return _triple(body.joints[body.joint_names.index(definition)])
    return _triple(sum(weight * body.v_template[vertex] for vertex, weight in definition.items()))


def _triple(xyz: np.ndarray) -> tuple[float, float, float]:
    x, y, z = (float(value) for value in xyz)
    return x, y, z


def _shown(row: ProposedRow) -> dict[str, str]:
    cells = ', '.join(f'{column} {value}' for column, value in row.cells.items())
    return {
        'annotated': row.data,
        'model': row.model or '–',
        'place': cells or ('as the model has it' if row.model else ''),
        'confidence': row.confidence or '–',
        'why': row.remark,
    }
