"""What `register` does: scans become registered bodies, with figures, pictures and one page."""

import json
import logging
import traceback
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import cast

import cv2
import torch

from smilfit.apis.compute import torch_threads
from smilfit.apis.fitting.fit_config import load_fit_config
from smilfit.apis.model_options import RegisterOptions
from smilfit.apis.options import with_options
from smilfit.apis.output_paths import check_not_an_input, check_output_folder
from smilfit.apis.progress import Progress, ignore
from smilfit.body_models import SMIL, is_shipped, load_body_model, save_body_model
from smilfit.files import (
    BadFileError,
    MadeOf,
    OutputFolder,
    OutputLock,
    folder_name,
    read_json,
    real_folder,
    write_bytes,
)
from smilfit.io.meshes.mesh_files import write_mesh
from smilfit.io.meshes.scan_files import (
    LANDMARKS,
    SCAN_FORMATS,
    find_scans,
    read_mesh,
    read_scan_landmarks,
    scan_digest,
)
from smilfit.registry import UnknownNameError, build_body_model, build_registrant
from smilfit.scans.registration import MeshRegistrant, Scan, clean_scan, template_body, unit_suspicion
from smilfit.scans.registration.result import NUMBERS, Record
from smilfit.scans.registration_page import draw_registration, registration_page
from smilfit.solvers import DistributedProcesses, Processes
from smilfit.solvers.processes import process_group
from smilfit.structures.body import MILLIMETRES
from smilfit.version import __version__

# Names of landmarks that are listed.
_LISTED = 5
_COUNTED = (
    ('vertices_not_finite', 'vertices that are no numbers were left out'),
    ('faces_without_area', 'triangles without area were left out'),
    ('loose_pieces_left_out', 'small loose pieces were left out'),
    ('pieces_inside_out', 'pieces of the surface were inside out and have been turned'),
)
logger = logging.getLogger('smilfit')
PART, PICTURE, MESH, PAGE = 'registration', 'registration.jpg', 'registered.ply', 'registrations.html'
# A body that is no file (a template mesh, or made by the config) is written beside its registrations.
BODY_MODEL = 'body_model.smil.json'
# A process that has done its specimens waits for one that still works.
PATIENCE = timedelta(days=14)


def scan_warnings(scan: Scan, model_unit_mm: float | None, extent_of_model: float) -> list[str]:
    """Describe in words what is odd about a scan, and what was done to it.

    Args:
        model_unit_mm: how long the model's unit is, mm; None where it is none of length.
        extent_of_model: the model's longest side, its unit.
    """
    name, report = scan.name, scan.report
    suspicion = unit_suspicion(scan, model_unit_mm, extent_of_model)
    result = [suspicion] if suspicion else []
    result += [f'{name}: {report[key]} {words}' for key, words in _COUNTED if report.get(key)]
    if report['pieces'] > 1:
        share = 100 * report['share_of_largest']
        result.append(
            f'{name}: is {report["pieces"]} pieces, the largest of {share:.0f} % of the triangles, bridged where '
            'they are nearest. Cut away what is not the animal, such as a stand'
        )
    if far := report['landmarks_far_off']:
        result.append(
            f'{name}: landmarks far from its surface were left out: {", ".join(far[:_LISTED])}. Are they in the unit '
            'and place of the scan?'
        )
    return result


@dataclass(frozen=True)
class RegistrationRun:
    """What came out: figures by specimen, why others failed, and the page of all."""

    records: dict[str, Record]
    failed: dict[str, str]
    page: Path
    skipped: tuple[str, ...] = field(default=())


@with_options(RegisterOptions)
def register(
    config: str | Path | Mapping[str, object],
    scans: Sequence[str | Path],
    out: str | Path,
    options: RegisterOptions,
) -> RegistrationRun | None:
    """Register a body to scans; what is registered in the same way already is not done again.

    Args:
        config: a `MeshRegistrant`'s config: a file, a shipped one's name such as `register/scans.py`, or its dict.
        scans: files and folders of them; named points lie beside a scan as `<name>.landmarks.json`.
        out: folder for the results, one folder a scan.

    Returns:
        All results in the first process, None in the others.

    Raises:
        ConfigError: the config does not run.
        FileNotFoundError: no scan there.
    """
    out = check_output_folder(out, '--out')
    check_not_an_input(out, scans, '--out')
    result = find_scans(list(scans))
    with torch_threads(options.threads), process_group(options.launcher, 'cpu', PATIENCE):
        processes = Processes() if options.launcher == 'none' else DistributedProcesses()
        cfg = load_fit_config(config, options.cfg_options or {})
        unit = options.unit
        if unit is not None and unit not in MILLIMETRES:
            raise ValueError(f'--unit: must be one of {", ".join(MILLIMETRES)}; got {unit!r}.')
        body, model_file = _body(cfg.pop('body_model', None), options.body_model)
        registrant = build_registrant({**cfg, 'body_model': body})
        if not isinstance(registrant, MeshRegistrant):
            raise ValueError(
                f'register: the config must be of a MeshRegistrant; got {type(registrant).__name__}.'
            )
        with OutputLock.of_folder(out) if processes.rank == 0 else nullcontext():
            if model_file is None:
                model_file = f'../{BODY_MODEL}'
                if processes.rank == 0:
                    out.mkdir(parents=True, exist_ok=True)
                    save_body_model(registrant.body.data, out / BODY_MODEL)
            run = _Run(registrant, model_file, cfg, out, unit, options.overwrite)
            own = list(result.items())[processes.rank :: processes.count]
            report = options.progress if options.progress is not None and processes.rank == 0 else ignore
            done = []
            for k, (name, path) in enumerate(own):
                report(Progress('register', k, len(own), name))
                done.append((name, *run.one(name, path)))
            report(Progress('register', len(own), len(own), ''))
            every = processes.gather_list(done)
            if processes.rank != 0:
                return None
            return run.finished(sorted(every))


class _Run:
    """Specimens one by one, each in a folder of its own."""

    def __init__(
        self,
        registrant: MeshRegistrant,
        model_file: str,
        cfg: Mapping[str, object],
        out: Path,
        unit: str | None,
        overwrite: bool,
    ) -> None:
        self.registrant, self.model_file, self.out = registrant, model_file, out
        self.unit, self.overwrite = unit, overwrite
        self.options = {'config': json.loads(json.dumps(dict(cfg), default=repr)), 'unit': unit}

    def one(self, name: str, path: Path) -> tuple[str, str]:
        """Register a scan; gives 'done', 'kept' or 'failed', and why."""
        folder = real_folder(self.out, folder_name(name))
        outputs = OutputFolder(folder)
        try:
            made_of = MadeOf(self._inputs(path), self.options)
            if not self.overwrite and outputs.holds(PART, made_of):
                return 'kept', ''
            scan, warnings = self._scan(name, path)
            for sentence in warnings:
                logger.warning('%s', sentence)
            with outputs.make(PART, made_of) as staging:
                self._write(staging, scan, warnings)
        except (ArithmeticError, ValueError, KeyError, OSError, BadFileError, RuntimeError) as error:
            # One bad scan of many must not end the others; the page and the exit code tell of it.
            notes = isinstance(error, (ValueError, OSError, BadFileError, UnknownNameError))
            why = _naming(path, str(error) if notes else f'{type(error).__name__}: {error}')
            logger.warning('error: %s', why)
            logger.debug('%s', traceback.format_exc())
            return 'failed', why
        return 'done', ''

    def _inputs(self, path: Path) -> dict[str, object]:
        beside = path.with_name(path.stem + LANDMARKS)
        files = [path, *([beside] if beside.is_file() else [])]
        return {
            'scan': [scan_digest(file) for file in files],
            'body_model': self.registrant.body.data.content_hash(),
            'smilfit': __version__,
        }

    def _scan(self, name: str, path: Path) -> tuple[Scan, list[str]]:
        vertices, faces = read_mesh(path)
        scan = clean_scan(name, vertices, faces, self.unit, read_scan_landmarks(path))
        data = self.registrant.body.data
        mm = MILLIMETRES.get(data.unit or '')
        return scan, scan_warnings(scan, mm, self.registrant.surface.extent)

    def _write(self, folder: Path, scan: Scan, warnings: list[str]) -> None:
        surface = self.registrant.surface
        result = self.registrant(scan)
        warnings += [f'{scan.name}: is not believable: {why}' for why in result.report['doubts']]
        warnings += [f'{scan.name}: {caution}' for caution in result.report['cautions']]
        result.report['warnings'] = warnings
        result.save(folder, surface, scan, self.model_file)
        write_mesh(folder / MESH, result.vertices, surface.faces)
        shown = draw_registration(
            (scan.vertices, scan.faces), (result.vertices, surface.faces), result.shown_distance(surface)
        )
        good, data = cv2.imencode('.jpg', shown[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 90])
        if not good:
            raise RuntimeError(f'{scan.name}: the picture could not be made.')
        write_bytes(folder / PICTURE, data.tobytes())

    def finished(self, done: Sequence[tuple[str, str, str]]) -> RegistrationRun:
        """Write the page of all specimens."""
        records, failed, images = {}, {}, {}
        for name, word, why in done:
            folder = real_folder(self.out, folder_name(name))
            if word == 'failed':
                failed[name] = why
                continue
            records[name] = read_json(folder / NUMBERS, 'the figures of a registration', dict)
            images[name] = folder / PICTURE
        page = self.out / PAGE
        title = f'Registrations of {self.registrant.body.data.name}'
        registration_page(title, list(records.values()), images, failed).save(page)
        return RegistrationRun(records, failed, page, tuple(n for n, word, _ in done if word == 'kept'))


def _naming(path: Path, why: str) -> str:
    """Begin a sentence about a scan with its file."""
    # What lies beside it begins with the same folder and name.
    if why.startswith(str(path.with_suffix(''))):
        return why
    return f'{path}: {why.removeprefix(f"scan {path.stem}: ")}'


def _body(own: object, given: str | Path | None) -> tuple[SMIL, str | None]:
    """Build the body, and name its file, if a body model file it is; a mesh is a template without a skeleton."""
    if given is None and own is None:
        raise ValueError(
            'register: the body model must be named, by --body-model or in the config; got none.'
        )
    name = own if given is None else given
    if isinstance(name, (str, Path)):
        if Path(name).suffix.lower().lstrip('.') in SCAN_FORMATS:
            vertices, faces = read_mesh(name)
            try:
                whole = clean_scan(Path(name).stem, vertices, faces)
            except ValueError as error:
                raise BadFileError(_naming(Path(name), str(error))) from error
            return template_body(whole.name, whole.vertices, whole.faces), None
        return load_body_model(name), str(name) if is_shipped(name) else str(Path(name).resolve())
    return cast(SMIL, name if isinstance(name, torch.nn.Module) else build_body_model(name)), None
