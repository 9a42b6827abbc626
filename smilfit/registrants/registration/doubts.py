"""Why a registration is not believable: surfaces apart, limbs left over, another way to lie; and cautions of poses.

Near surfaces alone say little, for a body whose legs are on wrong ones lies near as well. The thresholds are from 25
made insects and stick insects whose truth is known (docs/registration.md; pose sd 0.25 to 0.7 rad, whole and
cut; 15 of them made the thresholds, the others were looked at after). Ten had less than 99 % of the legs' vertices on
the right leg: eight are doubted, two cautioned. Of fifteen right ones none is doubted, two are cautioned.
"""

from collections.abc import Mapping

# Of the extent: where a twentieth of the points is farther off, surfaces are not each other's.
FAR_OFF = 0.03
# Of the best start's energy: with less, one that ended elsewhere is as likely. Three wrong ones had 1.10 to 1.14, all
# right ones more than 1.2.
RIVAL = 1.2


def surface_doubts(scan_to_body: Mapping[str, float], body_to_scan: Mapping[str, float]) -> list[str]:
    """Say where surfaces are too far apart to be believed; nothing where they may be.

    Args:
        scan_to_body: figures of distances from the scan.
        body_to_scan: figures of distances from what of the body the scan shows.
    """
    found = []
    for figure, of, to in ((scan_to_body, 'scan', 'body'), (body_to_scan, 'body', 'scan')):
        far = figure['percentile_95_share']
        # Not far too: NaN.
        if not far <= FAR_OFF:
            found.append(
                f'a twentieth of the {of} lies {100 * far:.1f} % of the extent or more from the {to}. Look at the '
                'picture: is it another animal, a limb on a wrong one, or does the scan hold more than the animal?'
            )
    return found


def limb_doubts(free_of_body: int, free_of_scan: int, rival: float | None) -> list[str]:
    """Say why limbs may be on wrong ones.

    Args:
        free_of_body: limbs of the body for which the scan has no counterpart.
        free_of_scan: limbs of the scan that are none of the body's.
        rival: the energy of a start that ended elsewhere, times the best one's; None where there is none.
    """
    found = []
    if free_of_body and free_of_scan:
        found.append(
            f'{free_of_scan} limbs of the scan lie on none of the body, which has {free_of_body} left over. {_TIPS}'
        )
    if rival is not None and rival < RIVAL:
        found.append(
            f'the body lies nearly as well in another place or way round ({rival:.2f} times the energy). {_TIPS}'
        )
    return found


def pose_cautions(turn_rms: float, pose_sd: float) -> list[str]:
    """Say where a pose is so far from rest that limbs may be taken for others; as right ones are so, too, no doubt.

    Args:
        turn_rms: of the angles of joints about rest, root mean square, rad.
        pose_sd: of these, as the priors have it.
    """
    if turn_rms <= pose_sd:
        return []
    return [
        f'joints are turned by {turn_rms:.2f} rad (root mean square), more than the {pose_sd:g} that is expected: so '
        f'far from rest limbs are easily taken for others. {_TIPS}'
    ]


def limb_cautions(of_body: int, of_scan: int, compared: int) -> list[str]:
    """Say where a surface has so many limbs that only the longest were compared.

    Args:
        of_body: shorter limbs of the body, left out.
        of_scan: of the scan.
        compared: most limbs of a surface that are compared.
    """
    return [
        f'the {what} has {compared + left} limbs, of which the {compared} longest were compared, so that starts stay '
        f'few: the others are taken for its trunk. {advice}'
        for what, left, advice in (
            ('body', of_body, 'Is its surface torn? smilfit model check says where.'),
            ('scan', of_scan, 'Is it smooth and in one piece? Clean and smooth it where it is not.'),
        )
        if left
    ]


_TIPS = 'Look at the picture, and name tips of limbs (NAME.landmarks.json) where they are wrong.'
