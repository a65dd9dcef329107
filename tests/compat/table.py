"""One row for every name of CalSciPy 0.3.5: how it is called, and what to write now.

The tests run both calls of every row, and the page "Coming from CalSciPy 0.3.5" is made of them:

    python tests/compat/table.py
"""

from dataclasses import dataclass
from pathlib import Path

PAGE = Path(__file__).parents[2] / "docs" / "coming-from-0.3.5.md"

EQUAL = "equal"  # both calls give the same numbers
RUNS = "runs"  # both calls run; their results are not comparable


@dataclass(frozen=True)
class Row:
    """One name.

    Attributes
    ----------
    name : str
        Module and name, as in 0.3.5.
    old, new : str
        Expressions: the call of 0.3.5, and what to write now.
    agree : str
        ``"equal"``, ``"runs"``, or an expression of the results ``old`` and ``new`` that is true.
    differs : str
        What differs from 0.3.5.
    """

    name: str
    old: str
    new: str
    agree: str = EQUAL
    differs: str = ""


TRACES = [
    Row(
        "trace_processing.calculate_dfof",
        "calculate_dfof(array)",
        "cs.from_numpy(traces, frame_rate=30).cs.dfof()",
        EQUAL,
        "The default method works, integers and NaN too. NaN and a warning where F₀ + offset is "
        "not above 0.",
    ),
    Row(
        "trace_processing.calculate_standardized_noise",
        "calculate_standardized_noise(dfof)",
        "traces.cs.dfof().cs.noise()",
        EQUAL,
        "NaN samples are left out.",
    ),
    Row(
        "trace_processing.detrend_polynomial",
        "detrend_polynomial(array)",
        "traces.cs.detrend()",
        EQUAL,
        "The level stays; `keep_level=False` removes it, as 0.3.5 did.",
    ),
    Row(
        "trace_processing.perona_malik_diffusion",
        "perona_malik_diffusion(array)",
        "traces.cs.perona_malik()",
        EQUAL,
        "Constant traces stay as they are; `gamma` is at most 0.5, above which noise grows.",
    ),
]
EVENTS = [
    Row(
        "event_processing.bin_data",
        'bin_data(array, 3, np.max, last_bin="drop")',
        'traces.cs.bin(samples=3, reduce="max", partial="drop")',
        EQUAL,
        'Samples left over make a bin of their own; `last_bin="join"` adds them to the bin before, '
        "as 0.3.5 did. Arrays are binned along their last axis; `axis=0` is the old rule.",
    ),
    Row(
        "event_processing.calculate_firing_rates",
        "calculate_firing_rates(probabilities.values)",
        "probabilities.cs.firing_rates()",
        EQUAL,
        "Rates in Hz. The old documentation also called the result binary.",
    ),
    Row(
        "event_processing.calculate_mean_firing_rates",
        "calculate_mean_firing_rates(rates.values)",
        "rates.cs.mean_rates()",
    ),
    Row(
        "event_processing.collect_waveforms",
        "collect_waveforms(array, event_frames, 150, 450)",
        "traces.cs.waveforms(events, pre=5, post=15)",
        EQUAL,
        "Waveforms of early events are filled up with NaN, where 0.3.5 moved them to the left. "
        "Times are in s.",
    ),
    Row(
        "event_processing.convert_tau",
        "convert_tau(0.9, 0.1)",
        "cs.convert_tau(decay_factor=0.9, frame_rate=10.0)",
        EQUAL,
        "A number; ∞ from 1 on, NaN for 0 and less.",
    ),
    Row(
        "event_processing.get_event_onset_intensities",
        "get_event_onset_intensities(array, event_frames)",
        "events.cs.onset_values(traces)",
        EQUAL,
        "Events outside of the recording are an error.",
    ),
    Row(
        "event_processing.get_inter_event_intervals",
        "get_inter_event_intervals(event_frames)",
        "events.cs.intervals()",
    ),
    Row(
        "event_processing.get_num_events",
        "get_num_events(event_frames)",
        "events.cs.count()",
    ),
    Row(
        "event_processing.identify_events",
        "identify_events(array)",
        "traces.cs.dfof().cs.events()",
        RUNS,
        'The old rule, also on integers, is `events(method="derivative")`; the new default has a '
        "stated rate of false positives and finds where a rise begins.",
    ),
    Row(
        "event_processing.normalize_firing_rates",
        "normalize_firing_rates(rates.values)",
        "rates.cs.normalize()",
        EQUAL,
        "Each neuron by its own maximum; `axis=0` is the old rule. Silent neurons are 0.",
    ),
    Row(
        "event_processing.scale_waveforms",
        "scale_waveforms(collect_waveforms(array, event_frames, 150, 450))",
        "traces.cs.waveforms(events, pre=5, post=15).cs.scale()",
        EQUAL,
        "Each waveform by itself; NaN are left out.",
    ),
]
IMAGES = [
    Row(
        "image_processing.gaussian_filter",
        "gaussian_filter(images)",
        "movie.cs.gaussian_filter(sigma=1)",
        EQUAL,
        "On the CPU or a GPU. Blocks change no sample; `seams=True` is the old rule. Integers "
        "become floats instead of being cut off.",
    ),
    Row(
        "image_processing.median_filter",
        "median_filter(images)",
        "movie.cs.median_filter(size=3)",
        EQUAL,
        "On the CPU or a GPU. Blocks change no sample; `seams=True` is the old rule.",
    ),
]
FIGURES = [
    Row(
        "interactive_visuals.plot_spikes",
        "plot_spikes(probabilities.values, event_frames, array, 30.0)",
        "cs.plotting.interactive.view_spikes(spikes=events, traces=traces)",
        "type(old) is type(new)",
        "In notebooks and browsers. Returns what a notebook shows.",
    ),
    Row(
        "interactive_visuals.plot_traces",
        "plot_traces(array, 30.0)",
        "traces.cs.plot(interactive=True)",
        "type(old) is type(new)",
        "In notebooks and browsers. Returns what a notebook shows.",
    ),
    Row(
        "interactive_visuals.plot_trials",
        "plot_trials(generate_tensor(array, 30), range(10), None)",
        "trials.cs.plot(interactive=True)",
        "type(old) is type(new)",
        "In notebooks and browsers. Returns what a notebook shows.",
    ),
]
FILES = [
    Row(
        "io_tools.load_binary",
        'load_binary("mouse.bin")',
        'cs.ImagingSession.open("mouse.bin", frame_rate=30).movie',
        EQUAL,
        'Still `mode="r+"`, but a file of another size is an error and is never made longer. Three '
        "of the four numbers suffice when the metadata are lost.",
    ),
    Row(
        "io_tools.load_images",
        'load_images("mouse.tif")',
        'cs.ImagingSession.open("mouse.tif", frame_rate=30).movie',
        EQUAL,
        "Files of a folder in the order of their numbers; `.tiff` and `.TIF` too. Missing files "
        "are an error. Types stay.",
    ),
    Row(
        "io_tools.save_binary",
        "save_binary(out, images)",
        'movie.cs.to_binary("new.bin")',
        "old == 0 and new.stat().st_size == images.nbytes",
        "Nothing is overwritten.",
    ),
    Row(
        "io_tools.save_images",
        "save_images(out, images)",
        'movie.cs.to_tiff("new.tif")',
        "old == 0 and new.stat().st_size > images.nbytes",
        "`path` may be a file name. Nothing is overwritten; types stay.",
    ),
]
MISC = [
    Row(
        "misc.PatternMatching",
        'PatternMatching((1, "tif"), ("<", "=="))((2, "tif"))',
        'number < 2 and suffix == "tif"',
        "old is new",
        "Comparisons are signs or functions; texts are never evaluated.",
    ),
    Row(
        "misc.calculate_frames_per_file",
        "calculate_frames_per_file(512, 512)",
        "int(3.9e9) // (512 * 512 * 2)",
        EQUAL,
        "A whole number, at least 1.",
    ),
    Row(
        "misc.generate_blocks",
        "generate_blocks(images, 8)",
        "movie.chunk(frames=8)",
        "[len(block) for block in old] == list(new.chunks[0])",
        "Ends without an error; sequences without a length and blocks longer than the sequence "
        "work too.",
    ),
    Row(
        "misc.generate_overlapping_blocks",
        "generate_overlapping_blocks(images, 8, 2)",
        "movie.chunk(frames=8)",
        "[len(block) for block in old] == [8, 8, 8]",
        "Blocks at the ends are not filled up with the number 0. Filters need no overlap from you.",
    ),
    Row(
        "misc.generate_padded_filename",
        "generate_padded_filename(out, 7)",
        'Path(out) / f"images_{7:02d}.tif"',
        "old == new",
    ),
    Row(
        "misc.generate_sliding_window",
        "generate_sliding_window(array, 3)",
        'traces.rolling(time=3).construct("window")',
        "np.array_equal(old, new[:, 2:])",
        "The last windows are there for steps above 1, too.",
    ),
    Row(
        "misc.generate_time_vector",
        "generate_time_vector(300)",
        "cs.from_numpy(array, frame_rate=30).time",
        EQUAL,
        "A step of 0 is an error.",
    ),
    Row(
        "misc.sliding_window",
        "sliding_window(array, 3, np.mean)",
        "traces.rolling(time=3).reduce(np.mean)",
        "np.allclose(old, new[:, 2:])",
    ),
    Row(
        "misc.wrap_cupy_block",
        "wrap_cupy_block(np.negative)",
        'movie.cs.gaussian_filter(sigma=1, device="auto")',
        RUNS,
        "Filters move data to the GPU and back by themselves.",
    ),
    Row("misc.zero_pad_num_to_string", "zero_pad_num_to_string(7, 3)", 'f"{7:03d}"', "old == new"),
]
SHAPES = [
    Row(
        "reorganization.generate_raster",
        "generate_raster(event_frames, 300)",
        "cs.events_from_frames(event_frames, like=traces)",
        EQUAL,
        "Neurons without events work. Several events in one frame are counted; those outside of "
        "the frames are an error.",
    ),
    Row(
        "reorganization.generate_tensor",
        "generate_tensor(array, chunk_size=30)",
        "traces.cs.to_trials(length=1.0)",
        EQUAL,
        "Arguments may be named.",
    ),
    Row(
        "reorganization.merge_factorized_matrices",
        "merge_factorized_matrices(factors)",
        "cs.join_components(factors, frame_rate=30, components=0)",
        EQUAL,
        "Numbers instead of objects; trials of different lengths are filled up with NaN.",
    ),
    Row(
        "reorganization.merge_tensor",
        "merge_tensor(generate_tensor(array, 30))",
        "trials.cs.join_trials()",
    ),
]
BRUKER = [
    Row(
        "bruker.xml_mappings.xml_mapping.load_mapping",
        'load_mapping("5.6.64.400")',
        "cs.photostimulation.read_mark_points(mark_points)",
        "type(new).__name__ in old.values()",
        "No file is needed; an unknown version is an error that lists the known ones.",
    ),
    Row(
        "bruker.xml_mappings.xml_mapping.write_mapping",
        'write_mapping({"PVPoint": "Point"}, "9.9")',
        "cs.photostimulation.read_mark_points(mark_points)",
        RUNS,
        "Writes to `.calscipy` in your home folder, not into the package. Readers need no mapping.",
    ),
    Row(
        "bruker.meta_objects.GroupMeta",
        'GroupMeta("Group 1", (0, 1))',
        'cs.photostimulation.GalvoPointGroup(indices=(0, 1), name="Group 1")',
        "(old.name, old.indices) == (new.name, new.indices)",
    ),
    Row(
        "bruker.meta_objects.PhotostimulationMeta",
        "PhotostimulationMeta(ElementTree.parse(mark_points), BrukerElementFactory())",
        "cs.ImagingSession.open(folder).stimulus",
        "np.allclose(old.stimuli.delay, new.delay)",
        "Works; 0.3.5 raised NameError.",
    ),
    Row(
        "bruker.meta_objects.ROIObject",
        "ROIObject(point)",
        "cs.photostimulation.Target.from_point(point, (128, 256))",
        "old.point.x == new.x / 256",
    ),
    Row(
        "bruker.meta_objects.ROIObject.generate_coordinates",
        "ROIObject(point).generate_coordinates(256, 128)",
        "cs.photostimulation.Target.from_point(point, (128, 256))",
        "old == (new.x, new.y)",
    ),
    Row(
        "bruker.meta_objects.ROIObject.generate_hull_vertices",
        "ROIObject(point).generate_hull_vertices()",
        "cs.photostimulation.Target.from_point(point, (128, 256)).hull_vertices((128, 256))",
        RUNS,
        "Single pixels and lines have a hull, too. The new hull is that of pixels as squares.",
    ),
    Row(
        "bruker.meta_objects.ROIObject.generate_mask",
        "ROIObject(point).generate_mask(256, 128)",
        "cs.photostimulation.Target.from_point(point, (128, 256)).pixels((128, 256))",
        "np.array_equal(np.transpose(old), new)",
    ),
    Row(
        "bruker.validation.DingusException",
        'DingusException("x is wrong")',
        'cs.errors.ArgumentError("x is wrong")',
        "str(old) == str(new)",
    ),
    Row(
        "bruker.validation.DingusLogger",
        "DingusLogger([error])",
        'ExceptionGroup("what is wrong", [error])',
        "old.exceptions == list(new.exceptions)",
    ),
    Row(
        "bruker.validation.DingusLogger.add_exception",
        "DingusLogger().add_exception(error)",
        'ExceptionGroup("what is wrong", [error])',
        "old.exceptions == list(new.exceptions)",
    ),
    Row(
        "bruker.validation.DingusLogger.raise_exceptions",
        "DingusLogger().raise_exceptions()",
        'ExceptionGroup("what is wrong", [error])',
        RUNS,
    ),
    Row(
        "bruker.validation.field_validator",
        'field_validator("x", 0.5, dataclasses.fields(point)[0])',
        "cs.photostimulation.Point(x=0.5)",
        RUNS,
        "Ranges are lowest and highest values. Objects check themselves when they are made.",
    ),
    Row(
        "bruker.validation.format_fields",
        "format_fields(point)",
        "dataclasses.fields(point)",
        "[field for _, _, field in old] == list(new)",
    ),
    Row(
        "bruker.validation.type_check_nested_types",
        'type_check_nested_types((0, 1), "Tuple[int]")',
        "all(isinstance(one, int) for one in (0, 1))",
        "old is new",
        "Texts are never evaluated.",
    ),
    Row(
        "bruker.validation.validate_fields",
        "validate_fields(point)",
        "cs.photostimulation.Point(x=0.5)",
        RUNS,
        "Objects check themselves when they are made.",
    ),
    *(
        Row(
            f"bruker.xml_objects.{call.partition('(')[0]}",
            call,
            f"cs.photostimulation.{call}",
            "old == new",
            differs,
        )
        for call, differs in (
            ("GalvoPoint(x=-4.5, y=5)", "Negative volts, whole numbers and powers such as 0.025."),
            ("GalvoPointElement(duration=5.0, indices=3)", "Its own defaults are valid."),
            ("GalvoPointList(galvo_points=())", "Real `.gpl` files can be read."),
            ("MarkPointElement(points=())", ""),
            ("MarkPointSeriesElements(marks=())", ""),
            ("Point(x=0.5)", "Objects do not change: `point.replace(x=0.25)`."),
        )
    ),
]
UNDOCUMENTED = [
    Row(
        "bruker.data.align_data",
        "align_data(load_voltage_recording(folder), extract_frame_times(folder))",
        'session.align("voltage", to="movie")',
        "np.array_equal(old.dropna().iloc[:, :-1].T, new)",
        "No frame is lost; times are not rounded to ms.",
    ),
    Row(
        "bruker.data.determine_imaging_content",
        "determine_imaging_content(folder)",
        "cs.prairieview.imaging_content(folder)",
        "old == (len(new.channels), new.planes, new.frames, new.height, new.width)",
        "From the XML, not from file names.",
    ),
    Row(
        "bruker.data.extract_frame_times",
        "extract_frame_times(folder)",
        "cs.ImagingSession.open(folder).movie.time",
        "np.allclose(old.index / 1000, new)",
        "Frames of all cycles, not rounded.",
    ),
    Row(
        "bruker.data.generate_bruker_naming_convention",
        "generate_bruker_naming_convention(1, 0, 2)",
        "cs.prairieview.parse_name(name)",
        "Path(name).match(old) and new.channel == 2",
        "Patterns find the files.",
    ),
    Row(
        "bruker.data.load_bruker_tifs",
        "load_bruker_tifs(folder)",
        "cs.ImagingSession.open(folder).movie",
        "np.array_equal(old[0], new)",
        "In the order of the XML; several planes and channels.",
    ),
    Row(
        "bruker.data.load_mark_points",
        "load_mark_points(mark_points)",
        "cs.photostimulation.read_mark_points(mark_points)",
        "old.series == new",
    ),
    Row(
        "bruker.data.load_voltage_output",
        "load_voltage_output(voltage_output)",
        "cs.prairieview.read_voltage_output(voltage_output)",
        "old == new",
        "Works; 0.3.5 only had the name.",
    ),
    Row(
        "bruker.data.load_voltage_recording",
        "load_voltage_recording(folder)",
        "cs.ImagingSession.open(folder).voltage",
        "np.array_equal(old.T, new)",
        "Folders work. In physical units, times after the first frame.",
    ),
    Row(
        "bruker.data.repackage_bruker_tifs",
        "repackage_bruker_tifs(folder, out)",
        'cs.prairieview.repackage(folder, "movie.tif")',
        RUNS,
        "One BigTIFF file; nothing is overwritten.",
    ),
    Row(
        "bruker.factories.BrukerElementFactory",
        "BrukerElementFactory().constructor(ElementTree.parse(mark_points))",
        "cs.photostimulation.read_mark_points(mark_points)",
        "old == new",
    ),
    Row(
        "bruker.factories.BrukerXMLFactory",
        "BrukerXMLFactory().constructor(series)",
        'cs.photostimulation.write_mark_points(series, "series.xml")',
        RUNS,
        "Exponents are kept, texts escaped.",
    ),
    Row(
        "bruker.prairie_link.PrairieLink",
        'PrairieLink("192.168.0.20", password="1234")',
        'cs.PrairieLink("192.168.0.20", password="1234")',
        "(old.host, old.port) == (new.host, new.port)",
        "Over TCP, from any system. Images and the version cannot be asked for.",
    ),
    Row(
        "optogenetics.Photostimulation",
        "Photostimulation([ROI([[3, 5], [4, 5], [5, 5]], (9, 9), 3)]).targets",
        "cs.photostimulation.targets_from_rois(rois)",
        "repr(old) == repr(new)",
    ),
    Row(
        "optogenetics.ROI",
        "ROI([[3, 5], [4, 5], [5, 5]], (9, 9)).centroid",
        "cs.roi_statistics(rois)",
        "np.allclose(old, (new.y[0], new.x[0]))",
    ),
    Row(
        "optogenetics.Mask",
        "Mask((4, 5), 2, (9, 9)).mask",
        "cs.photostimulation.Target(x=5, y=4, width=4, height=4).mask((9, 9))",
    ),
    Row(
        "optogenetics.Group",
        'Group((3, 7), "Group 1")',
        'cs.photostimulation.GalvoPointGroup(indices=(3, 7), name="Group 1")',
        "(old.targets, old.name) == (new.indices, new.name)",
    ),
    Row(
        "optogenetics.calculate_centroid",
        "calculate_centroid([[0, 0], [0, 2], [2, 2], [2, 0]])",
        "cs.roi_statistics(square)",
        "np.allclose(old, (new.y[0], new.x[0]))",
        "Whichever way around the corners are given.",
    ),
    Row(
        "optogenetics.calculate_mask",
        "calculate_mask((4, 5), 2, (9, 9))",
        "cs.photostimulation.Target(x=5, y=4, width=4, height=4).pixels((9, 9))",
        "np.array_equal(old.T, new)",
        "The angle counts; the middle that is given is not changed.",
    ),
    Row(
        "optogenetics.calculate_vertices",
        "calculate_vertices([[3, 5], [4, 5], [5, 5]])",
        "cs.roi_hulls(rois)",
        RUNS,
        "Single pixels and lines work. The new hull is that of pixels as squares.",
    ),
    Row(
        "optogenetics.calculate_bounding_radius",
        "calculate_bounding_radius((4, 5), [[2, 5], [6, 5]])",
        "cs.roi_statistics(rois)",
        "abs(old - 2) < 1e-9 and new.radius[0] > 0",
    ),
    Row(
        "color_scheme.COLORS",
        "COLORS(7)",
        "cs.plotting.style.COLOURS[0]",
        "old == new",
        "After the last colour comes the first.",
    ),
]

ROWS = [*TRACES, *EVENTS, *IMAGES, *FIGURES, *FILES, *MISC, *SHAPES, *BRUKER, *UNDOCUMENTED]

_INTRODUCTION = """\
# Coming from CalSciPy 0.3.5

Scripts that were written for CalSciPy 0.3.5 run after changing one import:

- before: `from CalSciPy.trace_processing import calculate_dfof`
- now: `from calscipy.compat.trace_processing import calculate_dfof`

`calscipy.compat` has every module and name of 0.3.5, with the same arguments and results: NumPy
arrays, tuples and tables of pandas. It runs on Linux, macOS and Windows. What 0.3.5 got wrong is
right here. Where numbers differ from those that a script had, the function says so once, by a
`CompatWarning`; its docstring tells what the difference is, and for a few functions a keyword gives
the old numbers.

The table says what to write instead in new scripts. Movies, traces and events are labelled arrays
there: `movie = cs.ImagingSession.open(folder).movie`, or `cs.from_numpy(array, frame_rate=30)`. The
tests run both columns and compare them.
"""
_TITLES = {
    "trace_processing": "Traces",
    "event_processing": "Events and rates",
    "image_processing": "Movies",
    "interactive_visuals": "Interactive figures",
    "io_tools": "Files",
    "misc": "Blocks, windows and names",
    "reorganization": "Rasters and trials",
    "bruker": "PrairieView",
    "optogenetics": "Regions to stimulate",
    "color_scheme": "Colours",
}


def page() -> str:
    """Return the page as Markdown."""
    parts = [_INTRODUCTION]
    for module, title in _TITLES.items():
        rows = [row for row in ROWS if row.name.startswith(f"{module}.")]
        parts.append(f"## {title}: `{module}`\n")
        parts.append("| 0.3.5 | now | what differs |\n|---|---|---|")
        parts += [_line(row, module) for row in rows]
        parts.append("")
    return "\n".join(parts)


def _line(row: Row, module: str) -> str:
    name = row.name.removeprefix(f"{module}.")
    new = row.new.replace("|", "\\|")
    return f"| `{name}` | `{new}` | {row.differs} |"


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
