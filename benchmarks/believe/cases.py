"""The fits that a verdict is asked on: 20 that are right, 20 that are wrong."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from benchmarks.believe import real, sessions, single_views
from benchmarks.believe.sessions import Labels, made_session
from benchmarks.image_scenes import Scene
from benchmarks.measuring import ROOT, real_data
from smilfit.body_models import SMIL
from smilfit.registry import read_config

CONFIGS = ROOT / 'configs' / 'fit'
SESSION_CONFIG = 'multiview_keypoints_lm'
# Bones as free as points: what experts may ask for, and what no animal does.
FREE_BONES = {'fit_joint_offsets': True, 'joint_offset_prior_weight': 1e3}


@dataclass(frozen=True)
class Case:
    """A fit to judge.

    Args:
        name: for the table.
        right: the truth.
        make: gives the body and the labels of a session, or single views.
        config: of `configs/fit`.
        options: that all its stages but the first are changed by.
        seed: of all chance; None of real data.
        apart: how many frames of the recording one is from the next.
    """

    name: str
    right: bool
    make: Callable[[], Labels | tuple[SMIL, Scene]]
    config: str = SESSION_CONFIG
    options: Mapping[str, Any] = field(default_factory=dict)
    seed: int | None = None
    apart: int = 1

    @property
    def slug(self) -> str:
        """Give a file's name."""
        return ''.join(c if c.isalnum() else '_' for c in f'{"right" if self.right else "wrong"} {self.name}')

    def registrant_config(self) -> dict[str, Any]:
        """Give the config with the changes, for `build_registrant`."""
        return registrant_config(self.config, self.options)


def registrant_config(name: str = SESSION_CONFIG, options: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Read one of the shipped configs, and change its stages but the first."""
    cfg = read_config(CONFIGS / f'{name}.py').to_dict()
    if options:
        if not any(h['type'] == 'JointOffsetPriorHandler' for h in cfg['handlers']):
            cfg['handlers'].append({'type': 'JointOffsetPriorHandler', 'handler_key': 'joint_offset_prior'})
        for stage in cfg['stages'][1:]:
            stage.update(options)
    return {key: value for key, value in cfg.items() if key not in ('custom_imports', 'default_scope')}


def cases(seed: int = 0, with_real: bool = True) -> list[Case]:
    """List all cases of a seed; without the real data those of it are missing."""
    real_ones = with_real and real_data() is not None
    return [*_right(100 * seed, real_ones), *_wrong(100 * seed, real_ones)]


def _right(base: int, real_ones: bool) -> list[Case]:
    """Sessions of each animal under different cameras, noise and gaps; and two real mice."""
    found = []
    for i in range(18):
        animal = list(sessions.ANIMALS)[i % 4]
        cameras, noise = (4, 3, 6, 4, 3)[i % 5], (1.0, 2.0, 0.5, 3.0, 1.0)[i % 5]
        missing = (0.05, 0.1, 0.3, 0.05, 0.05)[i % 5]
        found.append(
            Case(
                f'{animal}, {cameras} cameras, {noise} px, {missing:.0%} missing ({i + 1})',
                True,
                lambda a=animal, s=base + i, c=cameras, n=noise, m=missing: made_session(a, s, c, n, m),
                seed=base + i,
            )
        )
    if real_ones:
        found.append(Case('real mouse, proposed landmarks', True, lambda: real.mouse('proposed')))
        found.append(Case('real mouse of DANNCE, six cameras', True, real.dannce_mouse, apart=100))
    return found


def _wrong(base: int, real_ones: bool) -> list[Case]:
    found: list[Case] = []

    def add(name: str, make: Callable[[int], Any], config: str = SESSION_CONFIG) -> None:
        seed = base + 50 + len(found)
        found.append(Case(name, False, lambda: make(seed), config, seed=seed))

    def taken(change: Callable[[Labels], Labels], animal: str) -> Callable[[int], Labels]:
        return lambda seed: change(made_session(animal, seed))

    def kept(change: Callable, animal: str) -> Callable[[int], Labels]:
        return lambda seed: sessions.with_camera(made_session(animal, seed), change)

    def mapped(model: str, animal: str, names: Mapping[str, str]) -> Callable[[int], Labels]:
        return lambda seed: sessions.renamed(sessions.ANIMALS[model](), made_session(animal, seed)[1], names)

    to_insect = sessions.QUADRUPED_TO_INSECT
    to_quadruped = {b: a for a, b in to_insect.items()}
    for animal in ('made insect', 'shipped quadruped'):
        add(f'{animal}, shuffled lookup', lambda s, a=animal: sessions.shuffled(made_session(a, s), s))
    for animal in ('made quadruped', 'shipped insect'):
        add(f'{animal}, left for right', taken(sessions.swapped, animal))
    add('made insect, a camera has the place of another', kept(sessions.of_another, 'made insect'))
    add('made quadruped, a camera turned by 8 degrees', kept(sessions.turned, 'made quadruped'))
    add("shipped insect, a camera's place in cm", kept(sessions.in_other_unit, 'shipped insect'))
    add('shipped quadruped, two cameras exchanged', kept(sessions.exchanged, 'shipped quadruped'))
    add('made quadruped, a camera six frames late', taken(sessions.unsynchronised, 'made quadruped'))
    add('insect model on a quadruped', mapped('made insect', 'made quadruped', to_insect))
    add('quadruped model on an insect', mapped('shipped quadruped', 'shipped insect', to_quadruped))
    for thing in (single_views.barn, single_views.rock, single_views.log):
        add(
            f'masks of a {thing.__name__}, one view',
            lambda s, thing=thing: single_views.masks_of_things(thing, s),
            'smalify_masks',
        )
    add(
        'shuffled keypoints, one view',
        lambda s: single_views.with_shuffled_keypoints(single_views.animals(s), s),
        'smalify_keypoints',
    )
    if real_ones:
        found += [
            Case('stick insect on the real mouse', False, real.stick_on_mouse),
            Case('real mouse, bones free to stretch', False, real.mouse, options=FREE_BONES),
            Case('real mouse, shuffled lookup', False, lambda: sessions.shuffled(real.mouse('proposed'), 0)),
            Case('real mouse, left for right', False, lambda: sessions.swapped(real.mouse('proposed'))),
            Case('real mouse, false camera kept', False, lambda: real.mouse('proposed', ())),
        ]
    return found
