"""Of which recording a fit is, and what it was judged to be."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any

from smilfit.files import read_json, reading
from smilfit.structures.model_reference import ModelReference

VERDICT_FILE = 'verdict.json'
# Fits that a verdict beside them is of; predictions lie beside the verdict on what was refined of them.
_JUDGED_FILES = ('fit.npz', 'refined.npz')


@dataclass(frozen=True)
class FitOrigin:
    """The recording of a fit, as its file keeps it.

    Args:
        session: its name.
        dataset: the dataset file, by its whole path; it may be gone.
        fingerprint: of that file.
        body_model_file: the body model of the fit, where it was; `body_model` says more.
        body_model: the body model of the fit, and where it is found again; None in older files.
        source: where the session came from, such as its folder.
        fps: frames per second of the recording; None where unknown.
        unit: of the world.
        labels: names of single images; none of a recording, whose frames have numbers.
        videos: by camera, where they are known.
    """

    session: str
    dataset: str | None = None
    fingerprint: str | None = None
    body_model_file: str | None = None
    source: str = ''
    fps: float | None = None
    unit: str | None = None
    labels: tuple[str, ...] = ()
    videos: dict[str, str] = field(default_factory=dict)
    body_model: ModelReference | None = None

    @property
    def reference(self) -> ModelReference:
        """What names the body model of the fit; in older files that of the dataset."""
        if self.body_model is not None:
            return self.body_model
        given = self.body_model_file or ''
        # Seen from the file, too: a folder that was moved as a whole.
        return ModelReference(given, relative=given)

    @classmethod
    def of(cls, dataset: Any, session: str, body_model: ModelReference | None = None) -> 'FitOrigin':
        """Describe a session of an open dataset file, fitted with a body model: the dataset's own if None."""
        images = dataset.has_own_cameras(session) and not dataset.temporal(session)
        return cls(
            session,
            str(Path(dataset.path).resolve()),
            dataset.fingerprint,
            str(dataset.body_model_file) if body_model is None else body_model.absolute or body_model.given,
            str(dataset.source(session)),
            dataset.fps(session),
            dataset.unit,
            tuple(dataset.labels(session)) if images else (),
            body_model=body_model,
        )

    @classmethod
    def from_record(cls, record: Mapping[str, Any], packed_model: bytes | None = None) -> 'FitOrigin':
        """Read what `record` gave; what a later version adds is passed over.

        Args:
            record: as JSON has it.
            packed_model: the body model itself, where the file holds it.
        """
        known = {f.name: record[f.name] for f in fields(cls) if f.name in record}
        if known.get('body_model') is not None:
            known['body_model'] = ModelReference.from_record(known['body_model'], packed_model)
        return cls(**known | {'labels': tuple(known.get('labels', ()))})

    def record(self) -> dict[str, Any]:
        """Give it as JSON has it; without the body model itself."""
        found = asdict(replace(self, body_model=None))
        return found | {'body_model': None if self.body_model is None else self.body_model.record()}


@dataclass(frozen=True)
class FitVerdict:
    """What a fit was judged to be: in a word, with reasons, and by frame; its measures stand in the file.

    `frame_keypoints` are those that are not good in a frame; empty where none is in any.
    """

    word: str
    reasons: tuple[str, ...]
    frame_words: tuple[str, ...]
    frame_reasons: tuple[str, ...]
    frame_keypoints: tuple[tuple[str, ...], ...] = ()


def verdict_beside(path: Path, n_frames: int) -> FitVerdict | None:
    """Read the verdict that lies beside a fit's file; None where there is none, or one of other frames."""
    file = path.parent / VERDICT_FILE
    if path.name not in _JUDGED_FILES or not file.is_file():
        return None
    document = read_json(file, 'a verdict', dict)
    with reading(file, 'a verdict'):
        frames = document['frames']
        words, reasons = (tuple(str(frame[k]) for frame in frames) for k in ('word', 'reason'))
        keypoints = tuple(tuple(map(str, frame.get('keypoints', ()))) for frame in frames)
        own = keypoints if any(keypoints) else ()
        found = FitVerdict(str(document['word']), tuple(map(str, document['reasons'])), words, reasons, own)
    return found if len(words) == n_frames else None
