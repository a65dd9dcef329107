"""Files as documented in 0.3.5, and where it was wrong (flaws F34 to F40)."""

import json

import numpy as np
import pytest
import tifffile

from calscipy.compat.io_tools import load_binary, load_images, save_binary, save_images
from calscipy.errors import ArgumentError, RecordingError, TargetExistsError

from . import reference


@pytest.fixture
def images():
    return np.random.default_rng(0).integers(0, 60_000, (7, 5, 6), dtype="u2")


# -- plain bytes -----------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["uint16", "float32", "float64", "uint8", "int32"])
def test_binary_files_are_those_of_the_documentation(tmp_path, images, dtype):
    images = images.astype(dtype)
    assert save_binary(tmp_path / "mouse.bin", images) == 0  # F35
    assert np.array_equal(np.fromfile(tmp_path / "mouse.bin", dtype), images.ravel())
    numbers = json.loads((tmp_path / "mouse.json").read_text())
    assert numbers == {"frames": 7, "y": 5, "x": 6, "dtype": dtype}
    for path in (tmp_path / "mouse.bin", tmp_path / "mouse", tmp_path, str(tmp_path)):
        found = load_binary(path)
        assert found.dtype == dtype
        assert np.array_equal(found, images)
    assert np.array_equal(reference.load_binary(tmp_path / "mouse.bin"), images)


def test_files_that_0_3_5_wrote_are_read(tmp_path, images):
    reference.save_binary(tmp_path / "binary_video.bin", images)
    (tmp_path / "other.bin").write_bytes(b"1")
    assert np.array_equal(load_binary(tmp_path), images)


@pytest.mark.parametrize(
    ("path", "written"),
    [
        (".", "binary_video.bin"),
        ("mouse", "mouse.bin"),
        ("mouse.01", "mouse.01.bin"),
        ("a/b/m.bin", "a/b/m.bin"),
    ],
)
def test_names_of_binary_files(tmp_path, images, path, written):
    save_binary(tmp_path / path, images)  # F39: "mouse.01" became "mouse.bin"
    assert (tmp_path / written).is_file()
    assert np.array_equal(load_binary(tmp_path / path), images)


def test_a_name_in_a_folder(tmp_path, images):
    save_binary(tmp_path, images, name="mouse")
    assert (tmp_path / "mouse.bin").is_file()


@pytest.mark.parametrize("missing", ["frames", "y", "x", "dtype"])
@pytest.mark.parametrize("mapped", [True, False])
def test_three_of_four_numbers_suffice(tmp_path, images, missing, mapped):
    save_binary(tmp_path, images)
    (tmp_path / "binary_video.json").unlink()
    (tmp_path / "binary_video.labels.json").unlink()
    known = {"frames": 7, "y": 5, "x": 6, "dtype": "uint16"}
    del known[missing]
    if missing == "dtype":
        with pytest.warns(UserWarning, match="2 bytes each are taken as uint16"):
            found = load_binary(tmp_path, mapped, missing_metadata=known)
    else:
        found = load_binary(tmp_path, mapped, missing_metadata=known)  # F39: frames, mapped
    assert np.array_equal(found, images)
    del known[next(iter(known))]
    with pytest.raises(ArgumentError, match="are not known"):
        load_binary(tmp_path, missing_metadata=known)


def test_a_mapped_file_is_written_to_unless_it_is_read_only(tmp_path, images):
    save_binary(tmp_path, images)
    mapped = load_binary(tmp_path, mapped=True)
    assert isinstance(mapped, np.memmap)
    assert mapped.mode == "r+"
    mapped[0, 0, 0] = 7
    mapped.flush()
    assert load_binary(tmp_path)[0, 0, 0] == 7
    copied = load_binary(tmp_path, mapped=True, mode="c")
    copied[0, 0, 0] = 8
    with pytest.raises(ValueError, match="read-only"):
        load_binary(tmp_path, mapped=True, mode="r")[0, 0, 0] = 8
    assert load_binary(tmp_path)[0, 0, 0] == 7


@pytest.mark.parametrize("mapped", [True, False])
@pytest.mark.parametrize("change", [-2, 2, 300])
def test_a_file_of_another_size_is_an_error_and_stays_as_it_is(tmp_path, images, mapped, change):
    save_binary(tmp_path, images)
    file = tmp_path / "binary_video.bin"
    data = file.read_bytes()
    data = data[:change] if change < 0 else data + bytes(change)
    file.write_bytes(data)
    with pytest.raises(RecordingError, match=f"need 420 bytes, the file has {420 + change}"):
        load_binary(tmp_path, mapped)
    numbers = {"frames": 999, "y": 5, "x": 6, "dtype": "uint16"}
    (tmp_path / "binary_video.json").unlink()
    with pytest.raises(RecordingError, match="999 frames"):
        load_binary(tmp_path, mapped, missing_metadata=numbers)
    assert file.read_bytes() == data


@pytest.mark.parametrize("mode", ["w+", "readwrite", "a"])
def test_modes_that_would_make_a_new_file_are_refused(tmp_path, images, mode):
    save_binary(tmp_path, images)
    with pytest.raises(ArgumentError, match=r"modes 'r', 'r\+' and 'c'"):
        load_binary(tmp_path, mapped=True, mode=mode)
    with pytest.raises(ArgumentError, match="height"):
        load_binary(tmp_path, missing_metadata={"height": 5})
    assert np.array_equal(load_binary(tmp_path), images)


def test_binary_files_are_never_written_over(tmp_path, images):
    save_binary(tmp_path, images)
    with pytest.raises(TargetExistsError):
        save_binary(tmp_path, images + 1)
    assert np.array_equal(load_binary(tmp_path), images)
    with pytest.raises(RecordingError, match="no such file"):
        load_binary(tmp_path / "other")


# -- TIFF ------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["uint16", "float32", "float64", "uint32", "uint8", "int16"])
def test_tiff_files_keep_their_type(tmp_path, images, dtype):
    images = images.astype(dtype)  # F37: float64, uint32 and bool changed in silence
    assert save_images(tmp_path / "mouse.tif", images) == 0
    assert np.array_equal(tifffile.imread(tmp_path / "mouse.tif"), images)
    found = load_images(tmp_path / "mouse.tif")
    assert found.dtype == dtype
    assert np.array_equal(found, images)


@pytest.mark.parametrize(
    ("path", "written"),
    [
        (".", "images.tif"),
        ("exact.tif", "exact.tif"),
        ("mouse", "mouse.tif"),
        ("a/b/m.TIFF", "a/b/m.TIFF"),
    ],
)
def test_names_of_tiff_files(tmp_path, images, path, written):
    save_images(tmp_path / path, images)  # F34: "exact.tif" became a folder
    assert (tmp_path / written).is_file()
    assert np.array_equal(load_images(tmp_path / written), images)


@pytest.mark.parametrize("cap", [56e-6, 55e-6, 30e-6, 20e-6])
@pytest.mark.parametrize("name", ["stack", "stack.tif"])
def test_images_that_are_too_large_become_several_files(tmp_path, cap, name):
    images = np.random.default_rng(0).integers(0, 60_000, (7, 50, 80), dtype="u2")  # 56,000 bytes
    assert save_images(tmp_path / name, images, size_cap=cap) == 0
    if cap == 56e-6:
        assert [file.name for file in tmp_path.iterdir()] == ["stack.tif"]
        return
    written = list((tmp_path / "stack").iterdir())
    assert len(written) >= images.nbytes / (cap * 1e9)
    assert all(file.stat().st_size <= cap * 1e9 for file in written)
    assert np.array_equal(load_images(tmp_path / "stack"), images)
    with pytest.raises(TargetExistsError):
        save_images(tmp_path / "stack.tif", images, size_cap=cap)


def test_the_size_of_values_counts(tmp_path):
    images = np.zeros((4, 50, 80))  # F22: the type was ignored
    save_images(tmp_path, images, size_cap=70e-6)
    assert len(list((tmp_path / "images").iterdir())) == 2
    with pytest.raises(ArgumentError, match="one frame"):
        save_images(tmp_path, images, "other", size_cap=20e-6)


def test_files_of_a_folder_come_in_the_order_of_their_numbers(tmp_path, images):
    for number, frame in zip((1, 2, 3, 9, 10, 11, 100), images, strict=True):
        tifffile.imwrite(tmp_path / f"img{number}.tif", frame)  # F38
    assert np.array_equal(load_images(tmp_path), images)


@pytest.mark.parametrize("suffix", [".tif", ".tiff", ".TIF"])
def test_suffixes_of_any_kind(tmp_path, images, suffix):
    tifffile.imwrite(tmp_path / f"a{suffix}", images, photometric="minisblack")
    (tmp_path / "notatif").write_bytes(b"no image")  # F38
    assert np.array_equal(load_images(tmp_path), images)


def test_stacks_of_several_pages_in_a_folder(tmp_path, images):
    tifffile.imwrite(tmp_path / "a.tif", images[:3], photometric="minisblack")
    tifffile.imwrite(tmp_path / "b.tif", images[3:], photometric="minisblack")
    assert np.array_equal(load_images(tmp_path), images)
    assert np.array_equal(reference.load_images(tmp_path), images)


def test_pages_of_channels_and_planes_are_images_in_a_row(tmp_path, images):
    pages = np.concatenate([images, images[:5]]).reshape(2, 3, 2, 5, 6)
    metadata = {"axes": "TZCYX", "TimeIncrement": 0.1, "TimeIncrementUnit": "s"}
    tifffile.imwrite(tmp_path / "a.ome.tif", pages, photometric="minisblack", metadata=metadata)
    assert np.array_equal(load_images(tmp_path / "a.ome.tif"), pages.reshape(12, 5, 6))


def test_one_image_is_a_stack_of_one(tmp_path, images):
    save_images(tmp_path / "one.tif", images[:1])
    assert load_images(tmp_path / "one.tif").shape == (1, 5, 6)


def test_missing_files_and_empty_folders_are_errors(tmp_path):
    for path in (tmp_path / "no.tif", tmp_path, tmp_path / "no folder"):  # F36
        with pytest.raises(RecordingError):
            load_images(path)


def test_tiff_files_are_never_written_over(tmp_path, images):
    save_images(tmp_path, images)
    with pytest.raises(TargetExistsError):
        save_images(tmp_path, images)
    with pytest.raises(ValueError, match="dim"):
        save_images(tmp_path / "two", images[0])
