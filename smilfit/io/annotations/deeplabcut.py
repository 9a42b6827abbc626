"""LightningPose: labels of images and predictions, csv in DeepLabCut's layout, one animal."""

from collections.abc import Sequence
from pathlib import Path

from smilfit.files import BadFileError, shorten
from smilfit.io.annotations.base import AnnotationReader
from smilfit.io.annotations.pose_rows import RowImage, annotate_rows, find_video, row_frames, row_images
from smilfit.io.keypoint_names import mirror_pairs
from smilfit.io.pose_tables import (
    PoseTable,
    body_parts,
    choose_individuals,
    read_pose_table,
    usual_threshold,
)
from smilfit.registry import ANNOTATIONS
from smilfit.structures import AnnotationSet


@ANNOTATIONS.register_module(name='dlc')
class DeepLabCutReader(AnnotationReader):
    """Reads tables of DeepLabCut, csv or h5, of one animal or several.

    A folder stands for all `CollectedData_*` tables in it, in its `labeled-data/*`, or in its own folders; of a
    table that is there as csv and as h5 the csv is read. Labels are stills of their video's sequence, predictions
    are frames in time with the likelihood as confidence. Where an image has several animals, each is an entry, and
    a sequence `<video>+<individual>`.

    DeepLabCut's tools draw labels on images whose pixel centres are integers, so px are as they stand.

    Args:
        images: the project's folder, from which rows name images; found above the table if None.
        individuals: the animals to read; all, without the scene's body parts, if None.
        video: for predictions, the video or the folder with it; looked for beside the table if None.
    """

    def __init__(
        self,
        images: str | Path | None = None,
        individuals: Sequence[str] | None = None,
        video: str | Path | None = None,
        allow_outside_images: bool = False,
    ) -> None:
        super().__init__(images, allow_outside_images)
        self.individuals = individuals
        self.video = None if video is None else Path(video)

    def read(self, path: str | Path) -> AnnotationSet:
        """Read one table, or all `CollectedData` tables of a project's folder.

        Raises:
            KeyError: an individual that a table lacks.
        """
        path = Path(path)
        tables = [read_pose_table(table) for table in find_tables(path)]
        return read_tables(path, tables, self, self.individuals, self.video)

    def image_folders(self, path: Path) -> tuple[Path, ...]:
        """Return `images`, or the folders in which a project is looked for; rows are held to the one found."""
        return image_folders_of(self, path)


def image_folders_of(reader: AnnotationReader, path: Path) -> tuple[Path, ...]:
    """Return the folders in which images of a project's tables may lie."""
    if reader.images is not None:
        return (reader.images,)
    return tuple(list(path.absolute().parents)[:4][-1:]) + (path,)


def find_tables(path: Path) -> list[Path]:
    """Return a table itself, or a folder's `CollectedData*` tables, csv before h5.

    Raises:
        FileNotFoundError: nothing there, or no such table in the folder.
    """
    if not path.is_dir():
        return [path]
    for pattern in ('CollectedData*', 'labeled-data/*/CollectedData*', '*/CollectedData*'):
        result = {p.with_suffix(''): p for suffix in ('.h5', '.csv') for p in path.glob(pattern + suffix)}
        if result:
            return sorted(result.values())
    raise FileNotFoundError(
        f'{path}: the folder must hold CollectedData_*.csv or .h5, itself or in labeled-data/*; there is none. '
        'Of predictions without a calibration, give the table of one camera.'
    )


def read_tables(
    path: Path,
    tables: Sequence[PoseTable],
    reader: AnnotationReader,
    individuals: Sequence[str] | None,
    video: Path | None,
) -> AnnotationSet:
    """Put tables into one set; keypoints that only some of them have are missing in the others' images.

    Args:
        path: the table, or the project's folder.
        tables: what was read.
        reader: says where images are.
        individuals: the animals to read; all, without the scene's body parts, if None.
        video: for predictions, the video or the folder with it.

    Raises:
        ValueError: no row at all, labels and predictions together, or a video that is not found.
    """
    if not any(table.rows or table.skipped for table in tables):
        raise BadFileError(f'{path}: the table must have rows below its header; got none.')
    of_video = {table.of_video for table in tables if table.rows}
    if len(of_video) > 1:
        raise BadFileError(
            f'{path}: tables must be all of images or all of videos; got both. Read them one by one.'
        )
    chosen, entries, skipped = [], [], []
    for table in tables:
        names, left_out = choose_individuals(table, individuals)
        chosen.append((table, names))
        skipped += [*table.skipped, *left_out]
    keypoint_names = body_parts(chosen)
    images: list[RowImage | str | None]
    for table, names in chosen:
        if table.rows and table.of_video:
            images = [*row_frames(table, find_video(table.path, video))]
        else:
            images = row_images(table, reader.images, reader.allow_outside_images)
        result, left_out = annotate_rows(table, images, names, keypoint_names)
        entries += result
        skipped += left_out
    return AnnotationSet(
        name=path.stem,
        keypoint_names=keypoint_names,
        images=tuple(entries),
        skipped=tuple(skipped),
        temporal=True in of_video,
        flip=mirror_pairs(keypoint_names),
        confidence_threshold=usual_threshold(tables),
    )


@ANNOTATIONS.register_module(name='lightningpose')
class LightningPoseReader(AnnotationReader):
    """Reads csv files of LightningPose.

    Labels (`CollectedData*.csv` beside `labeled-data/`, one file a view in a project of several) and predictions
    for labelled images are stills; predictions for a video are frames in time, with the likelihood as
    confidence. The column `set` and the variances of ensembles are not read.

    Args:
        images: the data folder, from which rows name images; found above the table if None.
        video: for predictions, the video or the folder with it; looked for beside the table if None.
    """

    def __init__(
        self,
        images: str | Path | None = None,
        video: str | Path | None = None,
        allow_outside_images: bool = False,
    ) -> None:
        super().__init__(images, allow_outside_images)
        self.video = None if video is None else Path(video)

    def read(self, path: str | Path) -> AnnotationSet:
        """Read one csv, or the `CollectedData` files of a data folder.

        Raises:
            ValueError: a file that is no csv, or has several animals, besides what every reader raises.
        """
        path = Path(path)
        tables = []
        for file in find_tables(path):
            if file.suffix.lower() != '.csv':
                raise BadFileError(f"{file}: a table of LightningPose must be csv. Read it as format 'dlc'.")
            table = read_pose_table(file)
            if list(table.tracks) != ['']:
                raise BadFileError(
                    f'{file}: a table of LightningPose must be of one animal; got the individuals '
                    f"{[shorten(name, 40) for name in list(table.tracks)[:10]]}. Read it as format 'dlc'."
                )
            tables.append(table)
        return read_tables(path, tables, self, None, self.video)

    def image_folders(self, path: Path) -> tuple[Path, ...]:
        """Return `images`, or the folders in which a project is looked for."""
        return image_folders_of(self, path)
