"""Make a body model file of a rig from another program."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from smilfit.apis.model_options import ImportOptions
from smilfit.apis.options import with_options
from smilfit.apis.output_paths import check_not_an_input
from smilfit.body_models.files.smil_json import write_smil_json
from smilfit.body_models.shipped_models import beside
from smilfit.files import replacing, write_text
from smilfit.rigs import ImportReport, build_model, read_rig, write_clips
from smilfit.rigs.building import LIMITS, naming_file
from smilfit.rigs.report import report_lines

SUFFIX = '.smil.json'


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
