"""The demo root that pages run on."""

from tests.docs.folder import laid_out

__all__ = ["laid_out"]
