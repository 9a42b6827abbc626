"""Where the limits of a joint come from: it decides how far a fit and a person may trust them."""

from collections.abc import Iterable

# Stated by the file of the rig; seen in its clips; written by a user; taken because nothing was stated; a joint that
# moves nothing.
FILE, CLIPS, USER, DEFAULT, LOCKED = 'file', 'clips', 'user', 'default', 'locked'
LIMIT_ORIGINS = {
    FILE: 'by the file it came from',
    CLIPS: 'by the ranges of its clips, 15 degrees wider',
    USER: 'by a user',
    DEFAULT: 'default (90 degrees in limbs, 45 on the midline)',
    LOCKED: 'locked, since they move nothing',
}


def origins_in_words(origins: Iterable[str]) -> str:
    """Count joints by where their limits are from, such as `40 by the file it came from, 3 by a user`."""
    given = list(origins)
    counts = {origin: given.count(origin) for origin in LIMIT_ORIGINS}
    return ', '.join(f'{n} {LIMIT_ORIGINS[origin]}' for origin, n in counts.items() if n)
