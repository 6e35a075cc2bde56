"""Digests of everything segpipe makes, to show that a change changes nothing."""
