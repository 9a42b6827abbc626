"""What the preprocess command shows of its findings."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from smilfit.body_models import BodyModelData
from smilfit.datasets import SessionPlan

# So many left-out entries are shown; the report beside the file has all.
MOST_SHOWN = 20


def print_findings(console: Console, plans: Sequence[SessionPlan], body: BodyModelData) -> None:
    """Show what a dry run found, session by session."""
    columns = ('camera', 'image, px', 'views', 'keypoints', 'below threshold', 'median from 3D points, px')
    for plan in plans:
        table = Table(title=f'{plan.session.name}: {plan.counts["frames_stored"]} frames would be stored')
        for column in columns:
            table.add_column(column, justify='left' if column == 'camera' else 'right')
        for c, name in enumerate(plan.cameras.names):
            px = plan.counts.get('camera_median_px', {}).get(name)
            dropped = _dropped(plan.counts['cameras'][name])
            row = (plan.view_mask[:, c].sum(), (plan.confidence2d[:, c] > 0).sum(), dropped)
            table.add_row(name, _sizes(plan, c), *map(str, row), 'unknown' if px is None else f'{px:.1f}')
        console.print(table)
        missing = [name for name in body.joint_names if name not in plan.names]
        console.print(f'{len(plan.names)} keypoints matched: {", ".join(plan.names)}', soft_wrap=True)
        console.print(
            f'{len(missing)} joints without a label: {", ".join(missing) or "none"}', soft_wrap=True
        )


def _dropped(counts: Mapping[str, Any]) -> str:
    lost, threshold = counts['labels_below_threshold'], counts['confidence_threshold']
    if threshold == 0:
        return '0, all count'
    share = 100 * lost / counts['labels'] if counts['labels'] else 0
    return f'{lost} ({share:.0f} %) < {threshold:g}'


def _sizes(plan: SessionPlan, c: int) -> str:
    sizes = plan.cameras.size[..., c, :].reshape(-1, 2)
    low, high = ('x'.join(str(int(v)) for v in size) for size in (sizes.amin(0), sizes.amax(0)))
    return low if low == high else f'{low} to {high}'


def print_report(console: Console, report: dict[str, Any]) -> None:
    """Show the counts of what was kept and left out."""
    table = Table(title='kept and left out')
    table.add_column('')
    names = list(report['sessions'])
    # A set of many sequences would be wider than any screen.
    shown = names if len(names) <= 8 else []
    for name in shown:
        table.add_column(name, justify='right')
    if len(shown) != 1:
        table.add_column('all', justify='right')
    for key, total in report['totals'].items():
        cells = [str(report['sessions'][name].get(key, '')) for name in shown]
        table.add_row(key.replace('_', ' '), *cells, *([str(total)] if len(shown) != 1 else []))
    console.print(table)
    if any(report['sessions'][name]['cameras'] for name in shown):
        _print_cameras(console, report['sessions'])


def _print_cameras(console: Console, sessions: Mapping[str, Mapping[str, Any]]) -> None:
    """Show each camera's labels, and how many the threshold leaves out."""
    table = Table(title='labels by camera')
    for column in ('session', 'camera', 'labels', 'below threshold'):
        table.add_column(column, justify='left' if column in ('session', 'camera') else 'right')
    for session, counts in sessions.items():
        for camera, row in counts['cameras'].items():
            table.add_row(session, camera, str(row['labels']), _dropped(row))
    console.print(table)


def print_left_out(console: Console, left_out: Sequence[dict[str, str]], out: Path | None) -> None:
    """Name entries that were left out, the first ones here and where the rest is."""
    if not left_out:
        return
    console.print(f'{len(left_out)} entries left out:')
    for entry in left_out[:MOST_SHOWN]:
        console.print(f'  {entry["where"]}: {entry["reason"]}', highlight=False, soft_wrap=True, markup=False)
    more = len(left_out) - MOST_SHOWN
    if more > 0:
        where = '' if out is None else f' in {out}.report.json'
        console.print(f'  and {more} more{where}', highlight=False, soft_wrap=True, markup=False)
