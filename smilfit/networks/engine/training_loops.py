"""mmengine's training loops, of whose epochs a run can begin in the middle."""

import logging
from collections.abc import Iterator, Mapping

from mmengine.dataset import InfiniteSampler
from mmengine.runner import EpochBasedTrainLoop, IterBasedTrainLoop

from smilfit.networks.engine.data_loading import RandomState, SeededLoader, random_state, set_random_state

logger = logging.getLogger('smilfit')


class Rounds:
    """Where a run is in its rounds over the training set, and the batches from there on.

    Args:
        loader: of the training.
    """

    def __init__(self, loader: SeededLoader) -> None:
        self.loader = loader
        # One that never ends goes round but once.
        self.endless = isinstance(loader.sampler, InfiniteSampler)
        self.round = self.done = 0
        # The generators as they were when this round began: the order of samples may have come from them.
        self.began_with: RandomState | None = None
        self._resumed: RandomState | None = None

    @property
    def place(self) -> dict[str, int]:
        """What a checkpoint must say of it, after a batch: the round, its batches so far and in all."""
        return {'round': self.round, 'batch': self.done, 'n_batches': len(self.loader)}

    def go_on(self, place: Mapping[str, int], began_with: RandomState | None) -> None:
        """Begin where another run stopped; with a loader of another length, at the beginning of that round."""
        self.round, self.done, self._resumed = place['round'], place['batch'], began_with
        if self.done and place['n_batches'] != len(self.loader) and not self.endless:
            logger.warning(
                'resume: a round over the training set had %d batches and has %d now; this one begins anew.',
                place['n_batches'], len(self.loader),
            )  # fmt: skip
            self.done = 0

    def batches(self) -> Iterator[tuple[int, dict]]:
        """Return what is left of this round: numbers and batches."""
        now = random_state()
        resumed, self._resumed = self._resumed if self.done else None, None
        if resumed is not None:
            set_random_state(resumed)
        self.began_with = random_state()
        self.loader.begin(self.round, self.done)
        result = enumerate(iter(self.loader), start=self.done)
        if resumed is not None:
            set_random_state(now)
        for number, batch in result:
            self.done = number + 1
            yield number, batch

    def end(self) -> None:
        """Turn to the next round."""
        self.round, self.done = self.round + 1, 0


class WholeEpochLoop(EpochBasedTrainLoop):
    """mmengine's loop with its arguments; a run takes it wherever its config says `EpochBasedTrainLoop`."""

    def __init__(self, *args: object, **kwargs: object) -> None:
        super().__init__(*args, **kwargs)
        self.rounds = Rounds(self.dataloader)

    def run_epoch(self) -> None:
        """Train on what is left of an epoch."""
        self.runner.call_hook('before_train_epoch')
        self.runner.model.train()
        for number, batch in self.rounds.batches():
            self.run_iter(number, batch)
        self.runner.call_hook('after_train_epoch')
        self._epoch += 1
        self.rounds.end()


class WholeIterLoop(IterBasedTrainLoop):
    """mmengine's loop with its arguments; a run takes it wherever its config says `IterBasedTrainLoop`."""

    def __init__(self, *args: object, **kwargs: object) -> None:
        super().__init__(*args, **kwargs)
        self.rounds = Rounds(self.dataloader)
        self.dataloader_iterator = self._forever()

    def _forever(self) -> Iterator[dict | None]:
        """Return batches without end, after nothing for each of a resumed run: mmengine's loop asks for those
        again."""
        yield from (None for _ in range(self.iter))
        sampler = self.dataloader.sampler
        while True:
            if hasattr(sampler, 'set_epoch'):
                sampler.set_epoch(self.rounds.round)
            yield from (batch for _, batch in self.rounds.batches())
            self.rounds.end()
