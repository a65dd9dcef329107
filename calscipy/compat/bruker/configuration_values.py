"""Constants of CalSciPy's Bruker modules (``CalSciPy.bruker.configuration_values``).

0.3.5 read them from a file in the working directory, and could not be imported without it.
"""

DEFAULT_PRAIRIEVIEW_VERSION = "5.6.64.400"
