"""Examples of what docs/architecture.md says how to add, each with its test."""
