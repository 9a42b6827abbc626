"""Joints and vertices of the body model against smplx.lbs: interleaved medians of one process, one thread.

    python -m benchmarks.body_model [--model FILE] [--out DIR]

Prints milliseconds and ratios, and writes them as JSON and CSV with machine, threads, versions and commit.
"""

import argparse
from pathlib import Path

import torch
from smplx.lbs import lbs

from benchmarks.measuring import RESULTS, interleaved, real_stick, save
from smilfit.body_models import SMIL, load_body_model_data
from smilfit.structures import BodyParams
from smilfit.synthetic import make_insect

# Calls of each function by batch size, in blocks.
ROUNDS = {1: 300, 32: 100, 256: 30}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        '--model', type=Path, help='body model file; SMILy_STICK.pkl of the real data if it is there'
    )
    parser.add_argument('--out', type=Path, default=RESULTS, help='folder for JSON and CSV')
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    data = load_body_model_data(path) if (path := arguments.model or real_stick()) else make_insect()
    rows = [row for batch in ROUNDS for row in measure(data, batch)]
    print(f'{data.name}: {data.n_vertices} vertices, {data.n_joints} joints, one thread')
    print(f'{"batch":>5} {"what":<43} {"pass":<17} {"smplx ms":>9} {"ours ms":>9} {"ratio":>7}')
    for row in rows:
        print(
            '{batch:>5} {what:<43} {passes:<17} {peer_ms:>9.3f} {ours_ms:>9.3f} {ratio:>6.1f}x'.format(**row)
        )
    save('body_model', rows, arguments.out, model=data.name)


def measure(data, batch: int) -> list[dict]:
    body = SMIL(data)
    shapes = ((batch, 3), (batch, body.n_joints - 1, 3), (batch, body.n_betas), (batch, 3))
    params = BodyParams(*((0.3 * torch.randn(s)).requires_grad_() for s in shapes), torch.ones(batch))
    template, shapedirs = torch.tensor(data.v_template).float(), torch.tensor(data.shapedirs).float()
    # smplx cannot leave pose correctives out: a model without them multiplies by zeros.
    posedirs = torch.zeros(9 * (body.n_joints - 1), 3 * data.n_vertices)
    regressor = torch.tensor(data.joint_regressor.to_dense()).float()
    parents = torch.tensor(data.parents)

    def peer() -> tuple[torch.Tensor, torch.Tensor]:
        pose = torch.cat([params.global_orient[:, None], params.body_pose], 1).flatten(1)
        template_b = template[None].expand(batch, -1, -1)
        vertices, joints = lbs(
            params.betas,
            pose,
            template_b,
            shapedirs,
            posedirs,
            regressor,
            parents,
            body.weights,
            pose2rot=True,
        )
        return vertices + params.transl[:, None], joints + params.transl[:, None]

    def joints() -> torch.Tensor:
        return body(params).joints

    def vertices() -> torch.Tensor:
        return body(params, ('vertices',)).vertices

    # What it is; the peer's outputs that the gradient starts from; ours.
    cases = {
        'joints': (lambda: torch.cat(peer(), 1), joints),
        'joints, peer: gradient of its joints alone': (lambda: peer()[1], joints),
        'vertices': (lambda: peer()[0], vertices),
    }
    for mine, theirs in ((joints(), peer()[1]), (vertices(), peer()[0])):
        worst = (mine - theirs).abs().max()
        assert worst < 1e-5, f'results differ by {worst}'
    rows = []
    for what, (theirs, mine) in cases.items():
        for passes, backward in (('forward', False), ('forward+backward', True)):
            a, b = interleaved((theirs, mine), backward, ROUNDS[batch])
            rows.append(dict(batch=batch, what=what, passes=passes, peer_ms=a, ours_ms=b, ratio=a / b))
    return rows


if __name__ == '__main__':
    main()
