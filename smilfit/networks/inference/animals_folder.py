"""Results of several animals of one recording: a folder an animal, and what shows all of them above these."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from smilfit.drawing.marks import animal_surfaces
from smilfit.files import MadeOf, OutputFolder, real_folder, write_text
from smilfit.files.budget import read_json
from smilfit.networks.inference.outputs import LABELS, InferenceOutputs, chosen_video_views, write_videos
from smilfit.networks.inference.prediction_files import PredictedRecording, write_tracks_of
from smilfit.version import __version__

# What is told of the animals' identities.
IDENTITIES = 'animals.json'
_ANIMALS, _ALONE = 'animals', ('predictions', 'joint_angles', 'animation', 'meshes', 'refined', 'smoothed')
_MOST_BYTES = 1 << 26


class AnimalsFolder:
    """The results of a recording of several animals.

    `animal_0`, `animal_1`, ... hold what a recording of one animal would; `animals.json`, labels with a track an
    animal, and videos of all lie above them.

    Args:
        folder: where the results lie.
    """

    def __init__(self, folder: Path) -> None:
        self.outputs = OutputFolder(folder)

    def animal(self, place: int) -> OutputFolder:
        """Return the folder of an animal."""
        return OutputFolder(real_folder(self.outputs.folder, animal_name(place)))

    def animals(self) -> dict[str, OutputFolder]:
        """Return the folders of all animals that were kept, by name."""
        return {animal_name(i): self.animal(i) for i in range(len(self._report()['animals']))}

    def holds(self, made_of: MadeOf) -> bool:
        """Check whether all animals' predictions are there, whole and made of the same."""
        if not self.outputs.holds(_ANIMALS, made_of):
            return False
        return all(folder.holds('predictions', made_of) for folder in self.animals().values())

    def keep(self, made_of: MadeOf, report: dict[str, Any], count: int) -> None:
        """Write what is told of the animals, after their predictions; those of a former run with more go."""
        for part in _ALONE:
            # Of a run that looked for one animal.
            self.outputs.drop(part)
        self.drop(count)
        with self.outputs.make(_ANIMALS, made_of) as staging:
            write_text(staging / IDENTITIES, json.dumps(report, indent=1))

    def drop(self, first: int = 0) -> None:
        """Delete what a former run left of animals from a number on; of all of them also what was told."""
        place = first
        while (outputs := self.animal(place)).marker.is_file():
            for part in (*_ALONE, LABELS, 'video', 'view_videos'):
                outputs.drop(part)
            outputs.marker.unlink()
            place += 1
        if not first:
            self.outputs.drop(_ANIMALS)

    def report(self, place: int) -> dict[str, Any]:
        """Return what is told of one animal, and of all."""
        result = self._report()
        return {**{k: v for k, v in result.items() if k != 'animals'}, **result['animals'][place]}

    def show(
        self, made: Sequence[PredictedRecording], options: InferenceOutputs, inputs: dict[str, Any]
    ) -> None:
        """Write what shows all animals: labels with a track each, and videos with a colour each.

        Args:
            made: what the animals' outputs show.
            options: what is written.
            inputs: what they were made of.
        """
        names = [animal_name(i) for i in range(len(made))]
        inputs = {**inputs, 'smilfit': __version__}
        self.outputs.part(
            LABELS,
            MadeOf(inputs, {}),
            options.labels,
            lambda folder: write_tracks_of(folder / LABELS, dict(zip(names, made))),
        )
        views = chosen_video_views(made[0].recording.camera_names, options.video_views)
        write_videos(self.outputs, inputs, options, views, made, animal_surfaces(names))

    def _report(self) -> dict[str, Any]:
        path = self.outputs.folder / IDENTITIES
        return read_json(path, 'what is told of the animals', dict, _MOST_BYTES)


def animal_name(place: int) -> str:
    """Name an animal by its number."""
    return f'animal_{place}'
