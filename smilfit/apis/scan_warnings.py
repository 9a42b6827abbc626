"""What is told of a scan before it is registered."""

from smilfit.registrants.registration import Scan, unit_suspicion

# Names of landmarks that are listed.
_LISTED = 5
_COUNTED = (
    ('vertices_not_finite', 'vertices that are no numbers were left out'),
    ('faces_without_area', 'triangles without area were left out'),
    ('loose_pieces_left_out', 'small loose pieces were left out'),
    ('pieces_inside_out', 'pieces of the surface were inside out and have been turned'),
)


def scan_warnings(scan: Scan, model_unit_mm: float | None, extent_of_model: float) -> list[str]:
    """Say in words what is odd about a scan, and what was done to it.

    Args:
        scan: cleaned.
        model_unit_mm: how long the model's unit is, mm; None where it is none of length.
        extent_of_model: the model's longest side, its unit.
    """
    name, report = scan.name, scan.report
    suspicion = unit_suspicion(scan, model_unit_mm, extent_of_model)
    said = [suspicion] if suspicion else []
    said += [f'{name}: {report[key]} {words}' for key, words in _COUNTED if report.get(key)]
    if report['pieces'] > 1:
        share = 100 * report['share_of_largest']
        said.append(
            f'{name}: is {report["pieces"]} pieces, the largest of {share:.0f} % of the triangles, bridged where '
            'they are nearest. Cut away what is not the animal, such as a stand'
        )
    if far := report['landmarks_far_off']:
        said.append(
            f'{name}: landmarks far from its surface were left out: {", ".join(far[:_LISTED])}. Are they in the unit '
            'and place of the scan?'
        )
    return said
