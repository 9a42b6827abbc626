"""A set of made sessions of one body: each another animal, motion, place, look and, where none is given, rig."""

from collections.abc import Sequence
from copy import deepcopy
from dataclasses import dataclass

import numpy as np
import torch

from smilfit.body_models import SMIL
from smilfit.drawing.skin_texture import SkinTexture
from smilfit.renderers import Renderer, ZBufferRenderer
from smilfit.structures import Cameras
from smilfit.structures.body import MILLIMETRES
from smilfit.synthetic.camera_rigs import SharedVolume, make_rig, px_per_unit, shared_volume
from smilfit.synthetic.drawn_motion import PoseSource, draw_animals
from smilfit.synthetic.looks import NO_PHOTOS, LookStyle, Photos, SessionLook, draw_look, find_style
from smilfit.synthetic.rendered_session import RenderedSession

# Where nothing says how large animals are: their extent in an image, a share of its shorter side.
FILLED = 0.6
# What images of made rigs show, in the animal's greatest extent.
ARENA_RADIUS = 0.75
# Sets the chance of looks apart from that of motion.
_LOOKS = 1


@dataclass(frozen=True)
class SynthesisOptions:
    """What a set of made sessions is like.

    `n_cameras`, `size` (width and height, px) and `unit` are those of made rigs. `memory_s` is how long motion keeps
    its direction, s; 0 draws every frame by itself, which shows more in as many frames. `scale` is model unit to
    world unit; None takes the units of model and world, or else fills about half an image. It varies between
    sessions by `scale_spread` (standard deviation of its logarithm). `up` is the world's; None takes it as
    the cameras are held. `n_animals` of one model share the arena, each with a shape and a motion of its own.
    """

    n_sessions: int = 20
    n_frames: int = 160
    n_cameras: int = 4
    size: tuple[int, int] = (320, 256)
    unit: str | None = 'mm'
    fps: float = 30.0
    memory_s: float = 0.33
    style: str | LookStyle = 'varied'
    scale: float | None = None
    scale_spread: float = 0.15
    up: tuple[float, float, float] | None = None
    seed: int = 0
    n_animals: int = 1

    def __post_init__(self) -> None:
        """Check the values.

        Raises:
            ValueError: a value that cannot work.
            KeyError: an unknown style.
        """
        find_style(self.style)
        for name in ('n_sessions', 'n_frames', 'n_cameras', 'n_animals'):
            if getattr(self, name) < 1:
                raise ValueError(f'SynthesisOptions: {name} must be at least 1; got {getattr(self, name)}.')
        for name in ('memory_s', 'scale_spread'):
            if not 0 <= getattr(self, name) < np.inf:
                raise ValueError(f'SynthesisOptions: {name} must not be negative; got {getattr(self, name)}.')
        for name in ('fps', 'scale'):
            value = getattr(self, name)
            if value is not None and not 0 < value < np.inf:
                raise ValueError(f'SynthesisOptions: {name} must be above 0; got {value}.')
        if min(self.size) < 16:
            raise ValueError(f'SynthesisOptions: size must be at least 16 px a side; got {self.size}.')
        if self.up is not None and not np.linalg.norm(self.up) > 0:
            raise ValueError(f'SynthesisOptions: up must be a direction; got {self.up}.')


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
