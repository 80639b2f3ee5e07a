"""The version, apart from the package's lazy exports so that every folder may read it."""

__version__ = "0.1.0"
