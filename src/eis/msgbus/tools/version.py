"""Which version this is. Knows the metadata of the installed distribution only."""

from importlib import metadata

__all__ = ["version"]


def version() -> str:
    """Return the version of the installed distribution."""
    try:
        return metadata.version("eis-msgbus")
    except metadata.PackageNotFoundError:  # run from a source tree
        return "of a source tree"
