"""Writes SLEAP's multi-view projects of several animals, from folders of sessions that name each animal's track."""

from pathlib import Path

import numpy as np
import sleap_io

from smilfit.geometry.rotation import rotmat_to_axis_angle
from smilfit.io import read_calibration, read_labels, read_track_names


def write_multiview(folder, path, track_names=None, identities=None, grouped=True, order=None):
    """Write a session's tracks as one `.slp`.

    Args:
        folder: the session.
        path: the file; the videos stay in the folder.
        track_names: by camera, what each animal's track is called; no tracks if None.
        identities: what each animal's groups of instances are called; no identities if None.
        grouped: whether the instances of an animal are in a group.
        order: animal whose instance goes by the animal's track, (camera, frame, animal) -> animal.
    """
    rig = read_calibration(folder / 'calibration.toml')
    cameras = [
        sleap_io.Camera(
            matrix=rig.K[c].numpy(),
            dist=np.zeros(5) if rig.dist is None else rig.dist[c].numpy(),
            size=tuple(int(x) for x in rig.size[c]),
            rvec=rotmat_to_axis_angle(rig.R[c]).numpy(),
            tvec=rig.t[c].numpy(),
            name=name,
        )
        for c, name in enumerate(rig.names)
    ]
    session = sleap_io.RecordingSession(
        camera_group=sleap_io.CameraGroup(cameras=cameras), metadata={'unit': rig.unit}
    )
    animals = [sleap_io.Identity(name=name) for name in identities or ()]
    tracks, frames, groups, skeleton = [], {}, {}, None
    for c, camera in enumerate(cameras):
        labels_path = next((folder / rig.names[c]).glob('*.slp'))
        video = sleap_io.Video(filename=str(next(labels_path.parent.glob('*.mp4'))), open_backend=False)
        session.add_video(video, camera)
        read = [read_labels(labels_path, name) for name in read_track_names(labels_path)]
        skeleton = skeleton or sleap_io.Skeleton(list(read[0].node_names))
        own = [sleap_io.Track(name) for name in (track_names or {}).get(rig.names[c], ())]
        tracks += own
        for a, labels in enumerate(read):
            for index, xy in enumerate(labels.xy):
                if np.isnan(xy).all():
                    continue
                by = a if order is None else order(c, index, a)
                instance = sleap_io.PredictedInstance.from_numpy(
                    xy, skeleton=skeleton, point_scores=np.full(len(xy), 0.9), score=0.9,
                    track=own[by] if own else None,
                )  # fmt: skip
                frame = sleap_io.LabeledFrame(video=video, frame_idx=index)
                frames.setdefault((index, c), frame).instances.append(instance)
                groups.setdefault((index, a), {})[camera] = instance
    for index in sorted({index for index, _ in groups}) if grouped else ():
        session.frame_groups[index] = sleap_io.FrameGroup(
            frame_idx=index,
            instance_groups=[
                sleap_io.InstanceGroup(instance_by_camera=seen, identity=animals[a] if animals else None)
                for (i, a), seen in groups.items()
                if i == index
            ],
            labeled_frame_by_camera={cameras[c]: frame for (i, c), frame in frames.items() if i == index},
        )
    further = {'identities': animals} if animals else {}
    labels = sleap_io.Labels(
        labeled_frames=[frames[key] for key in sorted(frames)],
        videos=session.videos, skeletons=[skeleton], tracks=tracks, sessions=[session], **further,
    )  # fmt: skip
    path.parent.mkdir(parents=True, exist_ok=True)
    sleap_io.save_slp(labels, str(path), embed=False, verbose=False)
    return Path(path)
