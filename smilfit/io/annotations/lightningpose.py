"""LightningPose: labels of images and predictions, csv in DeepLabCut's layout, one animal."""

from pathlib import Path

from smilfit.files import BadFileError, shorten
from smilfit.io.annotations.base import AnnotationReader
from smilfit.io.annotations.dlc import find_tables, image_folders_of, read_tables
from smilfit.io.annotations.pose_tables import read_pose_table
from smilfit.registry import ANNOTATIONS
from smilfit.structures import AnnotationSet


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
        """Give `images`, or the folders in which a project is looked for."""
        return image_folders_of(self, path)
