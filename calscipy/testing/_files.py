"""Write the files of a synthetic recording."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import islice
from pathlib import Path
from uuid import NAMESPACE_URL, uuid5

from ._scene import Image, Pixels, Scene
from ._tiff import (
    DATE,
    OmeImage,
    OmePlane,
    binary_only,
    ome_master,
    tiff_frame,
    write_streamed,
)
from ._xml import FOCUS, STAGE, Master


@dataclass(frozen=True)
class FileWriter:
    """Files of one recording."""

    folder: Path
    scene: Scene
    master: Master
    missing: set[tuple[int, int]]
    truncated: set[tuple[int, int]]

    def write(self, line_ending: str) -> None:
        """Write the XML and all images."""
        path = self.folder / f"{self.master.naming.name}.xml"
        with path.open("w", encoding="utf-8-sig", newline="") as file:
            lines = self.master.lines()
            file.write(next(lines))
            file.writelines(line_ending + line for line in lines)
        if self.master.naming.pages_per_file is None:
            self._write_frames()
        else:
            self._write_stacks(self.master.naming.pages_per_file)

    @property
    def _software(self) -> str:
        return f"Prairie View {self.master.version}"

    @cached_property
    def _metadata_file(self) -> str:
        """File with the OME-XML that all others point to."""
        naming = self.master.naming
        if naming.pages_per_file is not None:
            return f"{naming.name}.companion.ome"
        return naming.file(next(self.scene.plan.images(1)), min(self.scene.channels))[0]

    def _uuid(self, filename: str) -> str:
        return str(uuid5(NAMESPACE_URL, f"calscipy.testing:{self.scene.seed}:{filename}"))

    def _description(self, filename: str) -> bytes:
        metadata = self._metadata_file
        return binary_only(
            uuid=self._uuid(filename), master=metadata, master_uuid=self._uuid(metadata)
        )

    def _write_frames(self) -> None:
        """One file per image and channel."""
        style = {"software": self._software, "date": DATE}
        for cycle in range(1, self.scene.plan.cycles + 1):
            for image in self.scene.plan.images(cycle):
                key = (image.frame, image.plane)
                for channel in self.scene.channels if key not in self.missing else ():
                    filename, _ = self.master.naming.file(image, channel)
                    path = self.folder / filename
                    pixels = self._pixels(image, channel)
                    if filename == self._metadata_file:
                        length = sum(map(len, self._ome()))
                        write_streamed(path, pixels, self._ome(), length, **style)
                    else:
                        description = self._description(filename)
                        path.write_bytes(tiff_frame(pixels, description=description, **style))
                    if key in self.truncated:
                        os.truncate(path, 8 + pixels.nbytes // 2)

    def _write_stacks(self, pages: int) -> None:
        """One file per cycle, channel and chunk of pages."""
        import tifffile

        for cycle in range(1, self.scene.plan.cycles + 1):
            for channel in self.scene.channels:
                images = self.scene.plan.images(cycle)
                while chunk := list(islice(images, pages)):
                    filename, _ = self.master.naming.file(chunk[0], channel)
                    with tifffile.TiffWriter(self.folder / filename) as tiff:
                        for image in chunk:
                            tiff.write(
                                self._pixels(image, channel),
                                photometric="minisblack",
                                metadata=None,
                                description=self._description(filename),
                                software=self._software,
                                datetime=DATE,
                            )
        with (self.folder / self._metadata_file).open("wb") as file:
            file.writelines(self._ome())

    def _pixels(self, image: Image, channel: int) -> Pixels:
        return self.scene.pixels(image.frame, image.plane, channel)

    def _ome(self) -> Iterator[bytes]:
        """OME-XML that lists the whole recording, one Image per Sequence."""
        cycles = range(1, self.scene.plan.cycles + 1)
        return ome_master(self._uuid(self._metadata_file), map(self._ome_image, cycles))

    def _ome_image(self, cycle: int) -> OmeImage:
        plan, (height, width), (y, x) = self.scene.plan, self.scene.shape, self.master.microns
        deep = plan.planes > 1
        size = {"C": len(self.scene.channels), "T": 1 if deep else plan.sizes[cycle - 1]}
        return OmeImage(
            number=cycle,
            date=DATE.replace(":", "-", 2).replace(" ", "T"),
            size={**size, "X": width, "Y": height, "Z": plan.planes},
            microns={"X": x, "Y": y, "Z": self.master.z_step},
            channels=self.scene.channels.values(),
            planes=lambda: self._ome_planes(cycle),
        )

    def _ome_planes(self, cycle: int) -> Iterator[OmePlane]:
        deep = self.scene.plan.planes > 1
        for image in self.scene.plan.images(cycle):
            t, z = (0, image.nth - 1) if deep else (image.nth - 1, 0)
            place = (*STAGE, FOCUS + self.master.piezo(image.plane))
            for c, channel in enumerate(self.scene.channels):
                name, page = self.master.naming.file(image, channel)
                yield OmePlane(c, t, z, name, (page or 1) - 1, self._uuid(name), image.time, place)
