"""Imported by the process that workers are forked from: loads what work on masks needs."""

from __future__ import annotations

import numpy as np

from segpipe.masks.decoding import decode_mask
from segpipe.masks.encoding import canonical_png
from segpipe.masks.fast_path import load_fast_path
from segpipe.masks.measures import measure_decoded

load_fast_path()
# Compiled code is loaded when it is first used.
measure_decoded(decode_mask(canonical_png(np.eye(64, dtype=np.uint8))))
