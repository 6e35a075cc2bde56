"""Scale Nucleus as a destination, through its own SDK; see docs/nucleus.md."""
