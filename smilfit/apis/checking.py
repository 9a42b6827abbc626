"""Check a dataset's ground truth before anything is trained on it."""

import json
import logging
import math
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from smilfit.apis.output_paths import check_not_an_input, check_output_folder
from smilfit.apis.progress import Progress, ProgressCallback
from smilfit.body_models import (
    SMIL,
    BodyModelData,
    ModelNotFoundError,
    OtherModelError,
    find_model,
    load_body_model,
)
from smilfit.body_models.files.finding import LocatedModel
from smilfit.datasets import DatasetFile, open_dataset
from smilfit.drawing.ground_truth_page import ground_truth_page, sample_image, stack_samples
from smilfit.drawing.video import write_image
from smilfit.evaluation.ground_truth import SessionFigures, session_figures, warnings_of
from smilfit.files import MadeOf, OutputFolder, folder_name

logger = logging.getLogger('smilfit')

SAMPLES = 3
# Sessions that are drawn; figures are of all.
MOST_DRAWN = 12


@dataclass(frozen=True)
class CheckRun:
    """What was found: figures by session, warnings in words, and the folder with page, images and figures.json."""

    figures: dict[str, SessionFigures]
    warnings: list[str]
    folder: Path | None


def check_data(
    data: str | Path,
    out: str | Path | None = None,
    body_model: str | Path | None = None,
    n_samples: int = SAMPLES,
    progress: ProgressCallback | None = None,
) -> CheckRun:
    """Measure a dataset file's labels, 3D points, parameters, cameras and crops against each other, and draw some.

    Args:
        data: the dataset file.
        out: folder for report.html, figures.json and an image a session; nothing is written if None.
        body_model: a body model file or a shipped model's name, instead of the one that the dataset names.
        n_samples: how many samples of a session are drawn, spread over it.
        progress: called with a `Progress` after every session.

    Raises:
        ValueError: a file that is no dataset, one without images, or a body model that it was not made with.
    """
    if out is not None:
        check_output_folder(out, '--out')
        check_not_an_input(Path(out) / 'report.html', (data, body_model), '--out')
    dataset = open_dataset(data)
    dataset.require_images('a check before training')
    body = _body(dataset, body_model)
    figures = {}
    for done, session in enumerate(dataset.session_names):
        figures[session] = session_figures(dataset, session, body)
        if progress is not None:
            progress(Progress('checking', done + 1, len(dataset.session_names)))
    warnings = warnings_of(figures, dataset.unit)
    if out is None:
        return CheckRun(figures, warnings, None)
    made_of = MadeOf({'data': Path(data).name}, {'n_samples': n_samples})
    with OutputFolder(out).make('check', made_of) as staging:
        images = {}
        for session in dataset.session_names[:MOST_DRAWN]:
            images[session] = _draw(dataset, session, body, n_samples)
            write_image(staging / f'samples_{folder_name(session)}.png', images[session])
        page = ground_truth_page(Path(data).name, figures, warnings, images, dataset.unit, staging)
        page.save(staging / 'report.html')
        record = {'warnings': warnings, 'sessions': {n: _plain(asdict(f)) for n, f in figures.items()}}
        (staging / 'figures.json').write_text(json.dumps(record, indent=1) + '\n', encoding='utf-8')
    return CheckRun(figures, warnings, Path(out))


def _body(dataset: DatasetFile, chosen: str | Path | None) -> SMIL | None:
    """Load the body model; None where the dataset's own is not found any more, with a warning."""
    if chosen is not None:
        body = load_body_model(chosen)
        dataset.check_body_model(body.data)
        return body
    try:
        result: LocatedModel[BodyModelData] = find_model(
            dataset.body_model, dataset.path, folder=Path(dataset.path).parent
        )
    except (ModelNotFoundError, OtherModelError) as error:
        logger.warning('%s Parameters, sides and shape are not looked at.', error)
        return None
    return SMIL(result.body)


def _draw(dataset: DatasetFile, session: str, body: SMIL | None, count: int) -> np.ndarray:
    samples = dataset.samples(session)
    rows = np.unique(np.linspace(0, len(samples) - 1, min(count, len(samples))).round().astype(int))
    return stack_samples([sample_image(dataset, int(samples[row]), body) for row in rows])


def _plain(value: object) -> object:
    """Write numbers that are none as null: JSON has no NaN."""
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    return None if isinstance(value, float) and not math.isfinite(value) else value
