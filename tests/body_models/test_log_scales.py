"""Scale directions as logarithms: positive however far betas go, kept by files, told apart by the hash."""

import json
from dataclasses import replace

import jsonschema
import pytest
import torch

from smilfit.body_models import SMIL, load_body_model, save_body_model
from smilfit.body_models.files.smil_json import SCHEMA
from smilfit.files import BadFileError
from tests.animals import small_animal


def test_logarithms_stay_positive_and_agree_with_linear_ones_near_rest(tmp_path):
    data = small_animal()
    logged = replace(data, log_scale_directions=True)
    assert logged.content_hash() != data.content_hash()
    path = save_body_model(logged, tmp_path / 'a.smil.json')
    jsonschema.validate(json.loads(path.read_text()), json.loads(SCHEMA.read_text()))
    body = load_body_model(path).double()
    assert body.data.content_hash() == logged.content_hash()
    # Betas drive scales where they are logarithms; linear ones only where they are asked to.
    assert SMIL(data).scaledirs is None
    linear = SMIL(data, scale_directions=1.0, offset_directions=1.0).double()
    far = body.zero_params(1).replace(betas=torch.full((1, 3), -60.0, dtype=torch.float64))
    scales, _ = body.joint_scales_and_offsets(far)
    assert (scales > 0).all()
    torch.testing.assert_close(scales.log(), torch.einsum('s,sjc->jc', far.betas[0], body.scaledirs)[None])
    near = body.zero_params(1).replace(betas=torch.full((1, 3), 1e-4, dtype=torch.float64))
    both = [b(near, ('vertices',)).vertices for b in (body, linear)]
    torch.testing.assert_close(both[0], both[1], rtol=0, atol=1e-7)
    text = path.read_text().replace('"joint_scale_form": "log"', '"joint_scale_form": "cubic"')
    path.write_text(text)
    with pytest.raises(BadFileError, match='joint_scale_form must be "linear" or "log"'):
        load_body_model(path)
