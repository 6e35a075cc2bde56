"""What the ``post_process_*_segmentation`` functions of Hugging Face's transformers return."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from segpipe.errors import ManifestError
from segpipe.formats.given_masks import as_array
from segpipe.formats.model_outputs.given import Output, members
from segpipe.formats.model_outputs.instances import InstanceOptions, instance_output
from segpipe.formats.model_outputs.panoptic import panoptic_output
from segpipe.formats.model_outputs.semantic import semantic_output


def huggingface_output(
    result: Any,
    id2label: Mapping[Any, str],
    over_256: str,
    size: tuple[int | None, int | None],
    of: str,
) -> Output:
    """The result of one image.

    Args:
        result: of ``post_process_semantic_segmentation`` an H x W tensor of class numbers, of the
            other two a dict with ``segmentation`` and ``segments_info``.
        size: height and width of the image, where given.
        of: the item, for messages.

    Raises:
        ManifestError: naming the item, if it is no such result.
    """
    if isinstance(result, (list, tuple)):
        raise ManifestError(
            f"the result of {of!r} is a list of {len(result)}, one for each image: add each of its "
            "items, such as result[0]"
        )
    if not isinstance(result, Mapping):
        return semantic_output(result, id2label, {}, of)
    if "segmentation" not in result or "segments_info" not in result:
        raise ManifestError(
            f"the result of {of!r} has {', '.join(map(str, result))}, expected segmentation and "
            "segments_info, as post_process_panoptic_segmentation and "
            "post_process_instance_segmentation return them"
        )
    ids, info = result["segmentation"], result["segments_info"]
    if isinstance(ids, (list, tuple)):
        raise ManifestError(
            f"the segmentation of {of!r} is a list of run lengths, which do not say whose they "
            "are: leave out return_coco_annotation=True"
        )
    if ids is None and not info:
        return instance_output(None, (), None, None, size, InstanceOptions(background=None), of)
    array = as_array(ids, f"the segmentation of {of!r}")
    if array.ndim == 3:  # return_binary_maps
        options = InstanceOptions(over_256=over_256, background=None, names=id2label)
        labels = [one.get("label_id") for one in info]
        scores = members([one.get("score") for one in info], f"the scores of {of!r}")
        return instance_output(array, labels, scores, None, size, options, of)
    return panoptic_output(array, info, id2label, None, over_256, of)
