"""The examples in ``examples/`` do what they say."""
