from smilfit.io.keypoint_names import mirror_pairs


def test_names_that_differ_in_a_side_are_pairs():
    names = (
        'left_ear',
        'right_ear',
        'nose',
        'LeftEye',
        'RightEye',
        'L_F_Paw',
        'R_F_Paw',
        'l_1_co_l',
        'l_1_co_r',
    )
    assert mirror_pairs(names) == (
        ('left_ear', 'right_ear'), ('LeftEye', 'RightEye'), ('L_F_Paw', 'R_F_Paw'), ('l_1_co_l', 'l_1_co_r'),
    )  # fmt: skip


def test_words_that_only_hold_a_side_are_no_pairs():
    assert mirror_pairs(
        ('tail', 'tair', 'leftover', 'rightover', 'lip', 'rip', 'pawLeft', 'pawRight', 'left')
    ) == (('pawLeft', 'pawRight'),)


def test_camel_case_sides_at_the_end():
    assert mirror_pairs(('earL', 'earR', 'earRL', 'LEye', 'REye')) == (('earL', 'earR'), ('LEye', 'REye'))
