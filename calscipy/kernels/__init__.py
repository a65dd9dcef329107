"""Numeric kernels: arrays in, arrays out."""
