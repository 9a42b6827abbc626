"""The README's notebook, by hand: no config, no registry."""

import smilfit as sf
from smilfit.synthetic import make_insect, write_sessions


def test_a_session_is_fitted_by_hand(tmp_path):
    sf.save_body_model(make_insect(), tmp_path / 'ant.smil.json')
    body = sf.load_body_model(tmp_path / 'ant.smil.json')
    (folder,) = write_sessions(tmp_path / 'sessions', body, n_sessions=1, n_frames=6, n_cameras=3)
    session = sf.SleapSession(folder, joint_lookup=tmp_path / 'sessions' / 'joint_lookup.csv', unit='mm')
    seen = session.keypoints2d()
    place = ('global_orient', 'transl', 'scale')
    fitter = sf.SMPLify(
        body,
        handlers=[sf.Keypoint2dHandler(), sf.JointLimitHandler()],
        stages=[
            sf.Stage(n_iter=5, fit=place, weights={'keypoints2d_mse': 1.0}),
            sf.Stage(
                n_iter=15, fit=(*place, 'body_pose'), weights={'keypoints2d_mse': 1.0, 'joint_limits': 10.0}
            ),
        ],
        use_one_betas_per_video=True,
    )
    result = fitter([seen])
    assert result.vertices().shape == (6, body.data.n_vertices, 3)
    assert result.report['frames_without_alignment'] == 0
    truth = session.true_params.to(body.v_template)
    error = (body(result.params).joints - body(truth).joints).norm(dim=-1)
    # A legged animal of about 90 mm, labels a pixel off, three views of six frames.
    assert error.median() < 4.0
