"""Other libraries measuring the same masks, each in a process and an environment of its own.

``make bench-peers`` installs what can be installed and measures it. Every process measures Pillow's
decoding too, and what is compared are the ratios to that: times of different environments are not
comparable, ratios are.
"""
