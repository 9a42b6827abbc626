"""Make a body model file of a rig from another program."""

import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from smilfit.apis.model_options import ImportOptions
from smilfit.apis.options import with_options
from smilfit.apis.output_paths import check_not_an_input
from smilfit.body_models.files.smil_json import write_smil_json
from smilfit.body_models.shipped_models import beside
from smilfit.files import replacing, write_text
from smilfit.rigs import build_model, read_rig, write_clips
from smilfit.rigs.building import LIMITS, ImportReport, naming_file
from smilfit.rigs.clip_poses import ClipPoses
from smilfit.rigs.read_rig import listed
from smilfit.rigs.suspicions import METRES

SUFFIX = '.smil.json'
_NAMED = 6
# Of a bone's thickness to its length: less is noise of float32.
_STRETCHED = 1e-3


@dataclass(frozen=True)
class RigImport:
    """What was written, and what is to be said of it."""

    model: Path
    clips: Path | None
    texture: Path | None
    report: ImportReport
    lines: tuple[str, ...]


@with_options(ImportOptions, positional=('unit', 'limits', 'overwrite', 'skin', 'keypoints', 'armature'))
def import_rig(rig: str | Path, out: str | Path, options: ImportOptions) -> RigImport:
    """Read a rig and write it as a body model; its clips and its texture lie beside it.

    Args:
        rig: the file.
        out: the model's file, `*.smil.json`.

    Raises:
        ValueError: a rig that cannot be read or made a model of, or a bad name.
        FileExistsError: `out` is there.
    """
    out = Path(out)
    if not out.name.endswith(SUFFIX) or out.name == SUFFIX:
        raise ValueError(f'OUT: must end in {SUFFIX}; got {out.name}. Name it, say, {out.stem}{SUFFIX}.')
    others = [
        x for x in (options.limits, options.skin, options.keypoints) if x is not None and x not in LIMITS
    ]
    check_not_an_input(out, (rig, *others), 'OUT')
    if out.exists() and not options.overwrite:
        raise FileExistsError(f'{out}: is there already. Give --force to replace it, or another name.')
    result = read_rig(rig, options.skin, options.keypoints, options.armature)
    with naming_file(rig, result):
        data, report = build_model(result, options.unit, options.limits, out.name.removesuffix(SUFFIX))
    write_smil_json(data, out)
    clips = texture = None
    for stale in (beside(out, '.clips.npz'), beside(out, '.texture.npz')):
        stale.unlink(missing_ok=True)
    if report.clips:
        clips = write_clips(beside(out, '.clips.npz'), report.clips, data.content_hash())
    if result.texture is not None and result.uv is not None:
        texture = beside(out, '.texture.npz')
        with replacing(texture) as temporary, temporary.open('wb') as file:
            np.savez_compressed(file, image=np.frombuffer(result.texture, np.uint8), uv=result.uv)
    lines = report_lines(report)
    write_text(beside(out, '.import.txt'), '\n'.join(lines) + '\n')
    return RigImport(out, clips, texture, report, tuple(lines))


def report_lines(report: ImportReport) -> list[str]:
    """Return what is in the rig, what was cleaned, how large it is, its sides, limits and clips."""
    counts = report.counts
    lines = [
        f'{report.rig}: {counts["vertices"]} vertices, {counts["triangles"]} triangles, {counts["joints"]} joints, '
        f'{counts["shape directions"]} shape directions, {counts["clips"]} clips',
        f'size: {_size(report)}; unit {report.unit or "unknown"} ({report.unit_source})',
        f'weights: at most {counts["most joints of a vertex"]} joints a vertex; {_cleaned(report)}',
        f'root: {report.root}',
    ]
    if counts['vertices on the place of another']:
        lines.append(
            f'seams: {counts["vertices on the place of another"]} vertices lie on the place of another and are kept, '
            'so that textures and the order of vertices stay as in the file'
        )
    for reason, names in report.unfitted.items():
        lines.append(f'not fitted: {listed(names, _NAMED)}: {reason} (limits locked at 0)')
    if report.joined:
        lines.append(f'roots joined under {report.root}: {listed(report.joined, _NAMED)}')
    lines += [f'sides: {_sides(report)}', f'limits: {report.limits}']
    if report.symmetry.odd:
        lines.append(f'sides that do not mirror each other at rest: {listed(report.symmetry.odd, _NAMED)}')
    if report.clips:
        lines.append(f'clips: {", ".join(map(_clip, report.clips))}')
    if (most := stretch(report)) > _STRETCHED:
        lines.append(
            f'clips stretch bones by up to {most:.0%}: exact in the clips file; poses in axis-angle leave it out'
        )
    lines += [f'note: {note}' for note in report.notes]
    return lines + [f'SUSPECTED: {sentence}' for sentence in report.suspected]


def stretch(report: ImportReport) -> float:
    """Return the largest stretch of a bone in the clips that a pose leaves out, as a share."""
    worst = 0.0
    for clip in report.clips:
        every = np.concatenate((clip.exact['global_orient'][:, None], clip.exact['body_pose']), 1)
        values = np.linalg.svd(every, compute_uv=False)
        worst = max(worst, float(np.abs(values / np.maximum(values[..., 1:2], 1e-12) - 1).max()))
    return worst


def _size(report: ImportReport) -> str:
    text = f'{report.size:.4g} {report.unit or "units"} along its longest side'
    if report.unit in METRES and report.unit != 'mm':
        text += f' ({report.size * METRES[report.unit] * 1000:.4g} mm)'
    return text


def _cleaned(report: ImportReport) -> str:
    parts = [f'{n} {what}' for what, n in report.cleaned.items()]
    return '; '.join(parts) if parts else 'nothing had to be cleaned'


def _sides(report: ImportReport) -> str:
    result = report.symmetry
    if result.mirror is None and not result.pairs:
        return 'none found, neither in the mesh nor in names'
    parts = [f'{len(result.pairs)} pairs of joints ({result.by_name} by name, {result.by_place} by place)']
    if result.mirror is None:
        parts.append('no mirror in which the mesh looks the same')
    else:
        axis = int(np.abs(result.mirror.normal).argmax())
        straight = abs(result.mirror.normal[axis]) > math.cos(math.radians(1))
        across = (
            f'the {"xyz"[axis]} axis'
            if straight
            else f'({", ".join(f"{x:.2f}" for x in result.mirror.normal)})'
        )
        parts.append(f'a mirror across {across} in which {result.mirror.share:.0%} of the mesh look the same')
    return '; '.join(parts)


def _clip(clip: ClipPoses) -> str:
    times = clip.times_s
    return f'{clip.name} ({len(times)} frames, {times[-1] - times[0]:.2f} s)'
