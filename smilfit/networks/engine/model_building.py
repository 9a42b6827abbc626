"""Build a regressor from a config, its parts' sizes taken from each other and from the body."""

import copy
import json
from dataclasses import replace
from pathlib import Path

from smilfit.body_models import (
    SMAL,
    SMIL,
    BodyModelData,
    ModelNotFoundError,
    OtherModelError,
    find_model,
    load_body_model,
)
from smilfit.body_models.files.json_values import JsonValues
from smilfit.body_models.files.smil_json_parts import landmarks
from smilfit.body_models.loading import SMAL_KEYWORDS
from smilfit.networks.engine.configs import PartConfig
from smilfit.networks.regressors.modal_regressor import ModalRegressor
from smilfit.networks.training_set import DatasetNames, TrainingStatistics
from smilfit.registry import BODY_MODELS, MODELS, build
from smilfit.registry.build import find_class
from smilfit.structures import ModelReference


def load_body_for(
    names: DatasetNames,
    model_cfg: PartConfig,
    override: str | Path | None = None,
    stored: ModelReference | None = None,
    where: str | Path | None = None,
) -> tuple[SMIL, ModelReference]:
    """Load the body model of a training: the override, else the checkpoint's, the config's, the dataset file's.

    Args:
        names: of the dataset.
        model_cfg: of the model.
        override: a file, or a shipped model's name.
        stored: what a checkpoint names.
        where: the checkpoint, for messages and for what is named relative to it.

    Raises:
        ModelNotFoundError: it is nowhere.
        OtherModelError: what is there is not the one that the dataset or the checkpoint was made with.
    """
    cfg = model_cfg.get('body_model')
    cfg = {'type': 'SMIL', 'model_path': cfg} if isinstance(cfg, (str, Path)) else dict(cfg or {})
    kind = find_class(cfg['type'], BODY_MODELS) if cfg.get('type') else None
    own = {key: value for key, value in cfg.items() if key != 'model_path'}

    def make(source: Path | BodyModelData) -> SMIL:
        if isinstance(source, BodyModelData):
            # Whole: what stood in further files is in it.
            rest = {key: value for key, value in own.items() if key not in (*SMAL_KEYWORDS, 'num_betas')}
            return build({'type': 'SMIL', **rest, 'data': source}, BODY_MODELS)
        if kind is not None:
            return build({**cfg, 'model_path': source}, BODY_MODELS)
        return load_body_model(source, **own)

    beside = None if names.data_path is None else Path(names.data_path).parent
    if override is not None:
        result = find_model(_named(override), '--body-model', make, beside)
        return _with_landmarks(result.body, names), result.reference
    named = cfg.get('model_path')
    of_data = names.body_model or ModelReference(
        names.body_model_file or '', relative=names.body_model_file or ''
    )
    of_data = replace(of_data, content_hash=names.body_model_hash or of_data.content_hash)
    places = [] if stored is None else [(stored, where, None if where is None else Path(where).parent)]
    if named is not None:
        config = _named(named, of_data.content_hash)
        places.append((config, names.data_path or 'the dataset', beside))
    if of_data.given or not places:
        places.append((of_data, names.data_path or 'the dataset', beside))
    first: Exception | None = None
    for reference, of, folder in places:
        if kind not in (None, SMIL, SMAL):
            # Only the class itself knows what else belongs to it.
            reference = replace(reference, packed=None)
        try:
            result = find_model(reference, str(of), make, folder)
        except (ModelNotFoundError, OtherModelError) as error:
            # Another one than the dataset's, named on purpose, is not what the dataset's own could mend.
            if named is not None and reference.given == str(named) and isinstance(error, OtherModelError):
                raise
            first = first or error
            continue
        return _with_landmarks(result.body, names), result.reference
    assert first is not None
    raise first


def _named(given: str | Path, content_hash: str | None = None) -> ModelReference:
    """Name a model as somebody gives it: seen from the working directory, else beside the dataset file."""
    absolute = str(Path(given).expanduser().absolute())
    return ModelReference(str(given), content_hash, absolute, relative=str(given))


def _with_landmarks(body: SMIL, names: DatasetNames) -> SMIL:
    """Return a body with the landmarks that the dataset's lookup described."""
    if not names.landmarks or names.landmarks == '{}':
        return body
    values = JsonValues(Path(names.data_path or 'the dataset'), 'Preprocess again.')
    return body.with_landmarks(landmarks(json.loads(names.landmarks), values))


def names_with_body(names: DatasetNames, body: SMIL, reference: ModelReference) -> DatasetNames:
    """Name the body model that is used, in place of the dataset's."""
    return replace(
        names,
        body_model_file=reference.absolute or reference.given,
        body_model_hash=body.data.hash_without_landmarks(),
        body_model=reference,
    )


def build_regressor(cfg: PartConfig, body: SMIL, statistics: TrainingStatistics) -> ModalRegressor:
    """Build the model of a config for a body and a training set.

    A class with `build_parts(cfg, body, statistics)` builds its own parts, whose sizes follow from each other; of any
    other class the parts are built as they stand.
    """
    own = dict(copy.deepcopy(cfg))
    build_parts = getattr(find_class(own['type'], MODELS), 'build_parts', None) if 'type' in own else None
    if build_parts is not None:
        own = build_parts(own, body, statistics)
    return build({**own, 'body_model': body}, MODELS, statistics=statistics)
