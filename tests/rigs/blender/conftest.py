"""Blender itself, where it is installed; tests skip with the reason where it is not."""

from pathlib import Path

import pytest

from smilfit.rigs.blender import Blender, NoBlenderError, find_blender, run_in_blender

HERE = Path(__file__).parent


@pytest.fixture(scope='session')
def blender(tmp_path_factory) -> Blender:
    """The Blender that is found, when it has shown that it starts."""
    script = tmp_path_factory.mktemp('blender') / 'nothing.py'
    script.write_text('import bpy\n')
    try:
        result = find_blender()
        run_in_blender(script, blender=result)
    except NoBlenderError as error:
        pytest.skip(f'{error}')
    return result
