"""A set of made sessions of one body: each another animal, motion, place, look and, where none is given, rig."""

from collections.abc import Sequence
from copy import deepcopy

import numpy as np
import torch

from smilfit.apis.synthesis_options import SynthesisOptions
from smilfit.body_models import SMIL
from smilfit.drawing.skin_texture import SkinTexture
from smilfit.renderers import Renderer, ZBufferRenderer
from smilfit.structures import Cameras
from smilfit.structures.body import MILLIMETRES
from smilfit.synthetic.camera_rigs import SharedVolume, make_rig, px_per_unit, shared_volume
from smilfit.synthetic.drawn_motion import PoseSource, draw_animals
from smilfit.synthetic.looks import NO_PHOTOS, Photos, SessionLook, draw_look, find_style
from smilfit.synthetic.rendered_session import RenderedSession

# Where nothing says how large animals are: their extent in an image, a share of its shorter side.
FILLED = 0.6
# What images of made rigs show, in the animal's greatest extent.
ARENA_RADIUS = 0.75
# Sets the chance of looks apart from that of motion.
_LOOKS = 1


class SessionSet:
    """Makes sessions of a body, each from its own chance, so that one can be made again alone.

    Args:
        body: the animal.
        names: keypoints of the body that are labelled.
        options: what the sessions are like.
        cameras: the user's own, unbatched; each session has a made rig if None.
        photos: of the place.
        poses: where poses come from; the joint limits if None.
        renderer: a z-buffer if None.
        texture: the animals' own skin; drawn coats if None.
    """

    def __init__(
        self,
        body: SMIL,
        names: Sequence[str],
        options: SynthesisOptions | None = None,
        cameras: Cameras | None = None,
        photos: Photos = NO_PHOTOS,
        poses: PoseSource | None = None,
        renderer: Renderer | None = None,
        texture: SkinTexture | None = None,
    ) -> None:
        self.texture = texture
        self.body, self.names = deepcopy(body).double(), tuple(names)
        self.options = options or SynthesisOptions()
        self.cameras, self.photos, self.poses = cameras, photos, poses
        self.renderer = renderer or ZBufferRenderer()

    def __len__(self) -> int:
        return self.options.n_sessions

    def session_name(self, index: int) -> str:
        """Return a session's name."""
        return f'session_{index:03d}'

    def __getitem__(self, index: int) -> RenderedSession:
        """Make a session, with the labels of its first animal; its images are drawn when they are read."""
        if not 0 <= index < len(self):
            raise IndexError(f'SessionSet: sessions must be 0 to {len(self) - 1}; got {index}.')
        options = self.options
        rng = np.random.default_rng([options.seed, index])
        cameras = self._rig(rng)
        volume = shared_volume(cameras, rng, None if options.up is None else np.array(options.up))
        scale = self._scale(cameras, volume) * np.exp(options.scale_spread * rng.standard_normal())
        memory = options.memory_s * options.fps
        params = draw_animals(
            self.body, options.n_frames, rng, volume, scale, memory, self.poses, options.n_animals
        )
        seed = (options.seed, index)

        def look() -> SessionLook:
            chance = np.random.default_rng([*seed, _LOOKS])
            return draw_look(find_style(options.style), chance, cameras, volume, self.renderer, self.photos)

        return RenderedSession(
            self.session_name(index),
            self.body,
            params,
            cameras,
            self.names,
            look,
            seed,
            options.fps,
            self.renderer,
            texture=self.texture,
        )

    @property
    def _extent(self) -> float:
        return float(np.ptp(self.body.data.v_template, axis=0).max())

    def _rig(self, rng: np.random.Generator) -> Cameras:
        if self.cameras is not None:
            return self.cameras.to('cpu', torch.float64)
        options = self.options
        scale = options.scale or self._scale_of_units(options.unit) or 100.0 / self._extent
        # Several animals need more room, and are smaller in the images.
        radius = ARENA_RADIUS * scale * self._extent * options.n_animals**0.5
        return make_rig(options.n_cameras, radius, rng, options.size, options.unit)

    def _scale_of_units(self, unit: str | None) -> float | None:
        own = self.body.data.unit
        known = own in MILLIMETRES and unit in MILLIMETRES
        return MILLIMETRES[str(own)] / MILLIMETRES[str(unit)] if known else None

    def _scale(self, cameras: Cameras, volume: SharedVolume) -> float:
        """Return model unit to world unit: as told, as the units say, or as much as fills the images."""
        stated = self.options.scale or self._scale_of_units(cameras.unit)
        if stated is not None:
            return stated
        px = px_per_unit(cameras, volume.centre) / cameras.size.min(-1).values.numpy()
        return FILLED / (float(np.median(px)) * self._extent)
