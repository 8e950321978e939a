"""Pratique: lets verified mail of trusted procurement platforms through the quarantine."""

__version__ = "0.1.0"
