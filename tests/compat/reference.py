"""The functions of CalSciPy 0.3.5 as documented, run naively in NumPy, SciPy and plain Python.

They are what the tests compare with and what the benchmarks race against. None is optimised, none
uses calscipy. Arguments are those of 0.3.5.
"""

import json
import os
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pandas as pd
import tifffile
from scipy import ndimage, signal
from scipy.spatial import ConvexHull

# -- traces ----------------------------------------------------------------------------------


def low_pass(trace, frame_rate):
    """Zero-phase FIR low-pass of 1 Hz with a Hamming window; the rules for taps are those of F4."""
    taps = min(30, len(trace) // 3)
    if taps % 2 == 0:
        taps -= 1
    if 3 * taps == len(trace):
        taps -= 1
    weights = signal.firwin(taps, 1.0, window="hamming", fs=frame_rate)
    return signal.filtfilt(weights, [1.0], trace, padlen=3 * taps)


def calculate_dfof(traces, frame_rate=30.0, offset=0.0, external_reference=None):
    sources = traces if external_reference is None else external_reference
    out = np.empty_like(traces)
    for row, (trace, source) in enumerate(zip(traces, sources, strict=True)):
        f0 = np.percentile(low_pass(source, frame_rate), 5)
        out[row] = (trace - f0) / (f0 + offset)
    return out


def calculate_standardized_noise(fold_fluorescence_over_baseline, frame_rate=30.0):
    return np.array(
        [
            100 * np.median(np.abs(np.diff(trace))) / np.sqrt(frame_rate)
            for trace in fold_fluorescence_over_baseline
        ]
    )


def detrend_polynomial(traces, keep_level=True):
    out = np.empty_like(traces)
    at = np.arange(traces.shape[1])
    for row, trace in enumerate(traces):
        trend = np.polyval(np.polyfit(at, trace, 4), at)
        out[row] = trace - trend + (trend.mean() if keep_level else 0)
    return out


def perona_malik_diffusion(traces, iters=25, kappa=0.15, gamma=0.25, sigma=0):
    out = np.empty_like(traces)
    for row, trace in enumerate(traces):
        u = trace.astype(float)
        scale = kappa * (u.max() - u.min())
        for _ in range(iters):
            step = np.diff(u)
            flux = np.concatenate([[0.0], step * np.exp(-((step / scale) ** 2)), [0.0]])
            u = u + gamma * np.diff(flux)
        out[row] = u
    return out


# -- events ----------------------------------------------------------------------------------


def bin_data(data, bin_length, fun):
    """Bins of a sequence, or of the rows of a matrix; the last one has what is left over."""
    if data.ndim > 1:
        return np.array([bin_data(row, bin_length, fun) for row in data])
    return np.array([fun(data[a : a + bin_length]) for a in range(0, len(data), bin_length)])


def calculate_firing_rates(spike_probability_matrix, frame_rate=30.0):
    return spike_probability_matrix * frame_rate


def calculate_mean_firing_rates(firing_matrix):
    return np.array([np.nanmean(row) for row in firing_matrix])


def collect_waveforms(traces, event_indices, pre=150, post=450):
    found = []
    for trace, events in zip(traces, event_indices, strict=True):
        rows = np.full((len(events), pre + 1 + post), np.nan, trace.dtype)
        for row, event in enumerate(events):
            first, last = max(0, event - pre), min(len(trace), event + post + 1)
            rows[row, first - event + pre : last - event + pre] = trace[first:last]
        found.append(rows)
    return tuple(found)


def convert_tau(tau, dt):
    return -dt / np.log(tau)


def get_event_onset_intensities(traces, event_indices):
    return tuple(trace[events] for trace, events in zip(traces, event_indices, strict=True))


def get_inter_event_intervals(event_indices, frame_rate=30.0):
    return tuple(np.diff(events) / frame_rate for events in event_indices)


def get_num_events(event_indices):
    return np.array([len(events) for events in event_indices])


def identify_events(traces, timeout=15, frame_rate=30.0, smooth=True, force_nonneg=True):
    found = []
    for trace in traces:
        change = np.diff(trace.astype(float), prepend=trace[0].astype(float))
        if smooth:
            change = ndimage.gaussian_filter1d(change, frame_rate)
        if force_nonneg:
            change[change < 0] = 0
        peaks, _ = signal.find_peaks(change, distance=timeout, prominence=change.std() / 2)
        found.append(peaks.tolist())
    return tuple(found)


def normalize_firing_rates(firing_matrix):
    out = np.empty_like(firing_matrix)
    for row, rates in enumerate(firing_matrix):
        clipped = np.clip(rates, 0, None)
        most = np.nanmax(clipped)
        out[row] = clipped / most if most > 0 else 0
    return out


def scale_waveforms(waveforms, scaler):
    return tuple(
        np.array([scaler().fit_transform(row[:, None])[:, 0] for row in rows]).reshape(rows.shape)
        for rows in waveforms
    )


# -- movies ----------------------------------------------------------------------------------


def gaussian_filter(images, sigma=1.0):
    return ndimage.gaussian_filter(images.astype("float32"), sigma)


def median_filter(images, mask=None):
    footprint = np.ones((3, 3, 3)) if mask is None else mask
    return ndimage.median_filter(images, footprint=footprint)


def in_blocks(function, images, block_size, block_buffer):
    """Filter one block after the other in place, as 0.3.5 did."""
    out = images.copy()
    start = 0
    while start == 0 or start + block_buffer < len(out):
        out[start : start + block_size] = function(out[start : start + block_size])
        start += block_size - block_buffer
    return out


# -- files -----------------------------------------------------------------------------------


def load_binary(path):
    numbers = json.loads(Path(path).with_suffix(".json").read_text())
    shape = numbers["frames"], numbers["y"], numbers["x"]
    return np.fromfile(path, numbers["dtype"]).reshape(shape)


def save_binary(path, images):
    """Write both files; like what they are compared with, until they are on the disk."""
    numbers = dict(zip(("frames", "y", "x"), images.shape, strict=True)) | {
        "dtype": images.dtype.name
    }
    with open(path, "wb") as stream:
        images.tofile(stream)
        _flush(stream)
    with open(Path(path).with_suffix(".json"), "w") as stream:
        json.dump(numbers, stream)
        _flush(stream)
    return 0


def load_images(path):
    """All pages of all files, one after the other."""
    path = Path(path)
    stack = []
    for file in [path] if path.is_file() else sorted(path.glob("*.tif")):
        with tifffile.TiffFile(file) as tiff:
            stack += [page.asarray() for page in tiff.pages]
    return np.array(stack)


def save_images(path, images):
    """Write one file, until it is on the disk."""
    with open(path, "wb") as stream:
        tifffile.imwrite(stream, images, photometric="minisblack")
        _flush(stream)
    return 0


def _flush(stream):
    """Wait until a file is on the disk, and its name too."""
    stream.flush()
    os.fsync(stream.fileno())
    if os.name != "nt":
        folder = os.open(Path(stream.name).parent, os.O_RDONLY)
        os.fsync(folder)
        os.close(folder)


# -- blocks and windows ----------------------------------------------------------------------


def generate_blocks(sequence, block_size, block_buffer=0):
    start = 0
    while start == 0 or start + block_buffer < len(sequence):
        yield sequence[start : start + block_size]
        start += block_size - block_buffer


def generate_sliding_window(sequence, window_length, step_size=1):
    last = len(sequence) - window_length
    return np.array([sequence[a : a + window_length] for a in range(0, last + 1, step_size)])


def generate_time_vector(num_samples, sampling_frequency=30.0, start=0.0, step=None):
    step = 1 / sampling_frequency if step is None else step
    return np.array([start + step * sample for sample in range(num_samples)])


def sliding_window(sequence, window_length, function, *args, **kwargs):
    if sequence.ndim > 1:
        rows = [sliding_window(row, window_length, function, *args, **kwargs) for row in sequence]
        return np.array(rows)
    last = len(sequence) - window_length
    windows = (sequence[a : a + window_length] for a in range(last + 1))
    return np.array([function(window, *args, **kwargs) for window in windows])


# -- rasters and trials ----------------------------------------------------------------------


def generate_raster(event_frames, total_frames):
    raster = np.zeros((len(event_frames), total_frames), np.int32)
    for row, events in enumerate(event_frames):
        for frame in events:
            raster[row, frame] += 1
    return raster


def generate_tensor(traces_as_matrix, chunk_size):
    starts = range(0, traces_as_matrix.shape[1], chunk_size)
    return np.stack([traces_as_matrix[:, a : a + chunk_size] for a in starts])


def merge_factorized_matrices(factorized_traces, components=0):
    return np.stack(
        [np.concatenate([piece[components] for piece in row]) for row in factorized_traces]
    )


def merge_tensor(traces_as_tensor):
    return np.hstack(list(traces_as_tensor))


# -- PrairieView -----------------------------------------------------------------------------


def extract_frame_times(file):
    """Milliseconds after the first frame."""
    root = ElementTree.parse(file).getroot()
    times = np.array([float(frame.get("absoluteTime")) for frame in root.iter("Frame")])
    return 1000 * (times - times[0])


def load_bruker_tifs(folder, channel):
    """Frames of one channel, counted from 0."""
    files = sorted(Path(folder).glob(f"*_Ch{channel + 1}_*.ome.tif"))
    return np.stack([tifffile.imread(file, key=0) for file in files])


def load_voltage_recording(path):
    table = pd.read_csv(path, skipinitialspace=True, index_col=0)
    table.index.name = "Time (ms)"
    return table


def align_data(analog_times, frame_times):
    """Number of the frame nearest to a sample, at the sample nearest to each frame."""
    marks = np.full(len(analog_times), np.nan)
    for number, time in enumerate(frame_times):
        marks[np.argmin(np.abs(analog_times - time))] = number
    return marks


# -- regions ---------------------------------------------------------------------------------


def calculate_centroid(vertices):
    """Middle of a polygon by the shoelace formula, whose sign tells the way around."""
    area = y = x = 0.0
    for (y0, x0), (y1, x1) in zip(vertices, [*vertices[1:], vertices[0]], strict=True):
        cross = x0 * y1 - x1 * y0
        area += cross / 2
        y += (y0 + y1) * cross
        x += (x0 + x1) * cross
    return y / (6 * area), x / (6 * area)


def calculate_mask(center, radii, reference_shape, theta=0.0):
    angle = np.deg2rad(theta)
    found = []
    for y in range(reference_shape[0]):
        for x in range(reference_shape[1]):
            dy, dx = y - center[0], x - center[1]
            along = dx * np.cos(angle) + dy * np.sin(angle)
            beside = dy * np.cos(angle) - dx * np.sin(angle)
            if (along / radii[1]) ** 2 + (beside / radii[0]) ** 2 <= 1 + 1e-9:
                found.append((y, x))
    return np.array(found)


def calculate_vertices(pixels):
    pixels = np.asarray(pixels)
    return pixels[ConvexHull(pixels).vertices]
