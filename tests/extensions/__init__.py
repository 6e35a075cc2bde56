"""One example of every kind of extension that docs/architecture.md describes, and its test."""
