"""The one page that the demo ends with."""

import json
from pathlib import Path
from typing import Any

from smilfit.apis.fitting.fit_overlays import draw_free_views
from smilfit.apis.fitting.verdict_file import read_verdict
from smilfit.body_models import load_body_model
from smilfit.datasets import open_dataset
from smilfit.drawing import (
    Report,
    benchmark_figures,
    grid_of_views,
    plot_fit_stages,
    plot_training,
    read_scalars,
)
from smilfit.drawing.benchmark_report import benchmark_summary, headline_numbers, metric_rows
from smilfit.drawing.marks import FIT_MARKS
from smilfit.evaluation import BenchmarkResult, benchmark_metrics, strongest_baselines
from smilfit.io import iterate_videos
from smilfit.io.recordings.videos import probe_video
from smilfit.structures import FitResult


def write_demo_report(out: Path, size: Any) -> Path:
    """Gather images, fit numbers, training curves and the benchmark of a finished demo."""
    result = BenchmarkResult.load(out / 'train' / 'benchmark' / 'comparison.npz')
    metrics = benchmark_metrics(result)
    fits = {p.parent.name: json.loads(p.read_text()) for p in sorted((out / 'fit').glob('*/benchmark.json'))}
    page = Report(
        'smilfit demo',
        [
            f'A made animal was recorded by {size.n_cameras} made cameras in {size.n_sessions} sessions of '
            f'{size.n_frames} frames, so everything below can be compared with the exact truth.',
            *benchmark_summary(result, metrics),
        ],
        out,
    )
    page.add_numbers([*_fit_numbers(fits), *headline_numbers(result, metrics)])
    _add_recordings(page, out)
    _add_fits(page, out, fits)
    _add_training(page, out)
    page.add_section('Regressor: the benchmark on frames it has not seen')
    drawn = sorted((out / 'train' / 'benchmark').glob('prediction_*.png'))
    page.add_legend(FIT_MARKS).add_images(drawn)
    page.add_table(metric_rows(result, metrics), 'The regressor beside predictions that need no images')
    for figure, caption in benchmark_figures(result).values():
        page.add_figure(figure, caption)
    _add_prediction(page, out)
    page.add_link('fit/report.html', 'the fit, camera by camera')
    page.add_link('train/benchmark/report.html', 'the benchmark in full')
    return page.save(out / 'report.html')


def _fit_numbers(fits: dict[str, Any]) -> list[tuple[str, str, str]]:
    errors = [f['mpjpe_mm'] for f in fits.values() if 'mpjpe_mm' in f]
    if not errors:
        return []
    mean = sum(errors) / len(errors)
    shared = {k for f in fits.values() for k in f if '/' not in k and k.endswith('_mm')}
    means = {k: sum(f.get(k, float('nan')) for f in fits.values()) / len(fits) for k in sorted(shared)}
    strongest = strongest_baselines(means)
    notes = ['the animal is about 90 mm long']
    if 'mpjpe_mm' in strongest:
        notes.append(strongest['mpjpe_mm'].sentence)
    if 'mpjpe_shared_mm' in strongest:
        of_shared = f'{means["mpjpe_shared_mm"]:.2f} mm of points that two cameras saw'
        notes.append(f'{of_shared}, {strongest["mpjpe_shared_mm"].sentence}')
    return [(f'{mean:.2f} mm', 'mean keypoint error of the stage-wise fit', '; '.join(notes))]


def _add_recordings(page: Report, out: Path) -> None:
    page.add_section(
        'Recordings',
        'One moment of the first session in all cameras, as the lens made it (before undistortion).',
    )
    folder = sorted((out / 'sessions').glob('session_*'))[0]
    videos = {p.parent.name: p for p in sorted(folder.glob('*/*.mp4'))}
    dataset = open_dataset(out / 'demo.h5')
    frame = int(dataset.frame_indices(folder.name)[len(dataset.frame_indices(folder.name)) // 2])
    for _, images in iterate_videos(videos, [frame]):
        page.add_images([grid_of_views(list(images.values()))], [f'{folder.name}, frame {frame}'])
    sample = int(dataset.samples(folder.name)[len(dataset.samples(folder.name)) // 2])
    present = dataset.view_mask_of[sample]
    stored = [dataset.image(sample, c) for c, valid in enumerate(present) if valid]
    page.add_images([grid_of_views(stored, columns=len(stored))], ['the crops that the network sees'])


def _add_fits(page: Report, out: Path, fits: dict[str, Any]) -> None:
    page.add_section(
        'Stage-wise fit',
        'One shape, one scale and one skeleton a session, a pose for every frame; each fit is judged in words.',
    )
    rows = [
        {
            'session': name,
            'keypoint error, mm': numbers.get('mpjpe_mm', '-'),
            'aligned keypoint error, mm': numbers.get('pa_mpjpe_mm', '-'),
            'vertex error, mm': numbers.get('vertex_error_mm', '-'),
            'frames': numbers['n_frames'],
        }
        for name, numbers in fits.items()
    ]
    page.add_table(rows, 'The fitted body against the truth')
    body = load_body_model(out / 'animal.smil.json')
    for name in fits:
        verdict, _ = read_verdict(out / 'fit' / name)
        page.add_text(f'{name}: {verdict.word}, judged by what the fit did not see.', *verdict.reasons)
        result = FitResult.load(out / 'fit' / name / 'fit.npz', body=body)
        labels = [f'{name}, frame {row}' for row in range(result.params.batch_size)]
        shown, captions = draw_free_views(body, result, labels, verdict.frame_words)
        page.add_images(shown[:1], captions[:1])
    for name in list(fits)[:1]:
        video = out / 'fit' / name / 'overlay.mp4'
        centre = probe_video(video).n_frames // 2
        for _, image in iterate_videos({'overlay': video}, [centre]):
            page.add_legend(FIT_MARKS).add_images(list(image.values()), [f'{name}: the middle frame'])
        history = json.loads((out / 'fit' / name / 'fit.json').read_text())['history']
        page.add_figure(plot_fit_stages(history), f'{name}: loss by stage')
        page.add_video(video, f'{name}: the fitted body over the recording')


def _add_prediction(page: Report, out: Path) -> None:
    folder = out / 'predicted'
    if not (folder / 'overlay.mp4').is_file():
        return
    page.add_section(
        'The held-out session, predicted from its raw videos',
        'No labels: the network finds the animal and its keypoints in every view, a fit goes on from there.',
    )
    if (folder / 'verdict.json').is_file():
        verdict, _ = read_verdict(folder)
        page.add_text(f'{verdict.word}, judged by what the fit did not see.', *verdict.reasons)
    video = folder / 'overlay.mp4'
    for _, image in iterate_videos({'overlay': video}, [probe_video(video).n_frames // 2]):
        page.add_images(list(image.values()), ['the middle frame'])
    page.add_video(video, 'the predicted and refined body over the recording')


def _add_training(page: Report, out: Path) -> None:
    page.add_section('Training')
    scalars = sorted((out / 'train').glob('*/vis_data/scalars.json'))
    if scalars:
        page.add_figure(plot_training(read_scalars(scalars[-1])), 'Losses and validation figures by step')
