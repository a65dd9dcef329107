"""A field of Gaussian cells that can be drawn anywhere, so that shifts are known exactly."""

import numpy as np


class Scene:
    """Cells of 8 to 12 pixels across, within and around an image of a dim background."""

    def __init__(self, shape, *, seed=0, diameter=(8, 12), share=300, background=0.3):
        rng = np.random.default_rng(seed)
        self.shape, self.background = shape, background
        rows, columns = shape
        count = (rows + 40) * (columns + 40) // share
        self.y, self.x = rng.uniform(-20, rows + 20, count), rng.uniform(-20, columns + 20, count)
        self.sigma = rng.uniform(*diameter, count) / 3  # brightness falls to a third at the rim
        self.brightness = rng.lognormal(0, 0.6, count)

    def draw(self, y=0.0, x=0.0, *, odd_lines=0.0, activity=1.0):
        """Return the image, moved by ``(y, x)``, its odd lines further along x by ``odd_lines``."""
        rows, columns = (np.arange(n)[:, None] for n in self.shape)
        down = np.exp(-0.5 * ((rows - y - self.y) / self.sigma) ** 2) * self.brightness * activity
        image = np.empty(self.shape)
        for line, offset in ((0, 0.0), (1, odd_lines)):
            across = np.exp(-0.5 * ((columns - x - offset - self.x) / self.sigma) ** 2)
            image[line::2] = down[line::2] @ across.T
        return image + self.background


def shot_noise(images, photons, *, seed=0):
    """Return counts of ``photons`` a pixel on average."""
    images = np.asarray(images)
    return np.random.default_rng(seed).poisson(images * photons / images.mean()).astype("uint16")


def rms(errors):
    """Return the root of the mean square."""
    return float(np.sqrt(np.mean(np.square(errors))))
