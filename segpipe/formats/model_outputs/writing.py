"""The methods of ``ManifestWriter`` that take what models return."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from segpipe.formats.given_masks import MaskLike
from segpipe.formats.model_outputs.given import ClassNames, Output
from segpipe.formats.model_outputs.huggingface import huggingface_output
from segpipe.formats.model_outputs.instances import InstanceOptions, instance_output
from segpipe.formats.model_outputs.panoptic import panoptic_output
from segpipe.formats.model_outputs.semantic import semantic_output
from segpipe.formats.scores import ScoresLike, segmented


class OutputWriter(ABC):
    """Adds model outputs as predictions: a mask and its Segments.

    docs/model-outputs.md has the line for each framework. Arrays are NumPy's or anything with
    ``__array__``, such as a tensor in main memory. All methods take ``annotation_id``,
    ``image_url``, ``height``, ``width``, ``check`` and carried columns as :meth:`add` does.
    """

    @abstractmethod
    def add(self, reference_id: str, mask: MaskLike, segments: Sequence[Any], **other: Any) -> None:
        """Write one prediction from an index mask."""

    def add_instances(
        self,
        reference_id: str,
        masks: Any,
        labels: Any = None,
        scores: Any = None,
        boxes: Any = None,
        overlaps: str = "score",
        over_256: str = "refuse",
        background: str | None = "background",
        *,
        names: ClassNames | None = None,
        threshold: float | None = None,
        **other: Any,
    ) -> None:
        """Write one prediction from instances, each with a mask of its own.

        ::

            writer.add_instances("frame-0001", masks, ["person", "car"], [0.98, 0.7])

        The instances are painted into one mask: the k-th has the index k, the background 0. Its
        Segment says ``confidence``, ``instance`` (k), ``area`` (of its own mask), ``visible_area``
        (what others leave of it), ``box`` and ``category_id`` where known. Findings on the row, and
        so in the report, tell of instances that vanish or lose more than half of their pixels.
        Without an instance it is a prediction too: of background alone.

        Args:
            reference_id: the dataset item.
            masks: N x H x W (or N x 1 x H x W) of bool, of 0 and 1 (or 255), or of scores; a list
                of such H x W, of COCO run lengths, compressed or not, or of polygons (x, y in
                pixels; they need ``height`` and ``width``); H x W ids, 0 for background; or an
                object of supervision, Ultralytics, detectron2, torchvision or Segment Anything.
            labels: text for each instance, or one for all; or class numbers, of ``names``; or a
                dict from number to name, for an object that has the numbers. By default what the
                object says.
            scores: confidence of each instance, 0 to 1; None where there is none.
            boxes: N x 4, kept in the metadata as they are.
            overlaps: which instance has the pixels that several cover: ``score``, the one with the
                higher score (the smaller one, where not all have a score, or they are of Segment
                Anything and ``scores`` are not given); ``area``, the smaller one; ``error``
                refuses.
            over_256: what is done with more than 255 instances: ``refuse``; ``keep-best`` keeps the
                best and merges the rest per label into a crowd; ``semantic`` merges by label.
            background: label of the pixels of no instance; None for an ignored ``void``.
            names: the names of the classes, where labels are numbers.
            threshold: masks of scores are of the instance from here; 0.5 by default, if all scores
                are from 0 to 1.

        Raises:
            ManifestError: naming the item, if masks, labels, scores and boxes contradict each
                other, a score is no probability, or an option refuses; and as :meth:`add` does.
            StorageError: if the mask cannot be stored.
        """
        options = InstanceOptions(overlaps, over_256, background, names, threshold)
        size = other.get("height"), other.get("width")
        found = instance_output(masks, labels, scores, boxes, size, options, str(reference_id))
        self._add_output(reference_id, found, other)

    def add_panoptic(
        self,
        reference_id: str,
        ids: Any,
        segments_info: Sequence[Mapping[str, Any]],
        categories: Any,
        *,
        void_id: int | None = None,
        over_256: str = "refuse",
        **other: Any,
    ) -> None:
        """Write one prediction from panoptic ids, as of COCO, detectron2 and Hugging Face.

        ::

            writer.add_panoptic("frame-0001", ids, segments_info, ["road", "person"])

        Ids are renumbered to indexes by ascending id; a Segment's metadata say what its id was
        (``source_id``) and what else ``segments_info`` has of it; ``score`` becomes ``confidence``.

        Args:
            reference_id: the dataset item.
            ids: H x W whole numbers, also where they are held as floats; or H x W x 3 uint8, the
                colours of a COCO panoptic PNG.
            segments_info: for each id ``id``, ``category_id`` or ``label_id``, and optionally
                ``score``, ``isthing``, ``iscrowd``, ``area``, ``was_fused`` and others.
            categories: names by class number: a list or dict, COCO's list of categories, or an
                object or dict with ``thing_classes`` and ``stuff_classes``, which are told apart by
                ``isthing``.
            void_id: id of unlabelled pixels, which become an ignored Segment ``void``; by default
                -1 where it occurs, else 0. One that ``segments_info`` has is no void.
            over_256: what is done with more than 256 ids, as for :meth:`add_instances`.

        Raises:
            ManifestError: naming the item, if ids and ``segments_info`` contradict each other, an
                id is given twice, or a class has no name; and as :meth:`add` does.
            StorageError: if the mask cannot be stored.
        """
        found = panoptic_output(
            ids, segments_info, categories, void_id, over_256, str(reference_id)
        )
        self._add_output(reference_id, found, other)

    def add_semantic(
        self,
        reference_id: str,
        classes: Any,
        labels: ClassNames,
        *,
        ignore: Mapping[int, str] | Iterable[int] = (),
        **other: Any,
    ) -> None:
        """Write one prediction from class numbers, such as the argmax of a network's output.

        ::

            writer.add_semantic("frame-0001", logits.argmax(0), ["road", "person"])

        Each class with pixels becomes a Segment; its index is the number of the class. Where a
        number is not from 0 to 255, all are renumbered, and ``source_id`` says what they were.

        Args:
            reference_id: the dataset item.
            classes: H x W whole numbers, also where they are held as floats.
            labels: the names of the classes: a list, or a dict from number to name.
            ignore: number -> label of pixels to ignore, or such numbers alone, for ``void``.

        Raises:
            ManifestError: naming the item and the numbers, if a class has no name; and as
                :meth:`add` does.
            StorageError: if the mask cannot be stored.
        """
        found = semantic_output(classes, labels, ignore, str(reference_id))
        self._add_output(reference_id, found, other)

    def add_scores(
        self,
        reference_id: str,
        scores: ScoresLike,
        labels: Sequence[str],
        void_below: float | None = None,
        **other: Any,
    ) -> None:
        """Write one prediction from probabilities per class, such as a softmax's output.

        ::

            writer.add_scores("frame-0001", torch.softmax(logits, dim=0), ["Road", "Person"])

        A pixel belongs to the class with the highest probability; of equal ones, to the first. Each
        class with pixels becomes a Segment; its index is the number of the class. Its metadata
        hold the mean over its pixels of the probability of each class (``class_pdf``) and of its
        own (``confidence``), from float64 sums in a fixed order; a mean that rounding carried above
        1 is 1. Scores are read in blocks and not copied as a whole.

        Args:
            reference_id: the dataset item.
            scores: C x H x W, float16, float32 or float64 (NumPy, or anything with
                ``__array__``, such as a tensor), 1 to 256 classes: probabilities from 0, which sum
                up to 1 within 0.001 in every pixel. Logits are refused.
            labels: of the C classes, all different.
            void_below: 0 to 1: pixels whose highest probability is lower become an ignored
                Segment ``void`` of index 255, without confidence and PDF; it needs a class less.
            other: ``annotation_id``, ``image_url``, ``height``, ``width``, ``findings`` and
                carried columns, as for :meth:`add`.

        Raises:
            ManifestError: naming the item, and where there is one the worst pixel, if the scores
                are no probabilities of these classes; and as :meth:`add` does.
            StorageError: if the mask cannot be stored.
        """
        mask, segments = segmented(scores, labels, str(reference_id), void_below)
        self.add(reference_id, mask, segments, **other)

    def add_huggingface(
        self,
        reference_id: str,
        result: Any,
        id2label: Mapping[Any, str],
        *,
        over_256: str = "refuse",
        **other: Any,
    ) -> None:
        """Write one prediction from a result of Hugging Face's transformers.

        ::

            results = processor.post_process_panoptic_segmentation(outputs, target_sizes=[size])
            writer.add_huggingface("frame-0001", results[0], model.config.id2label)

        Unlabelled pixels (0 in panoptic results, -1 in those of instances) become an ignored
        Segment ``void``.

        Args:
            reference_id: the dataset item.
            result: of one image, what ``post_process_semantic_segmentation``,
                ``post_process_panoptic_segmentation`` or ``post_process_instance_segmentation``
                returned.
            id2label: class number -> name, ``model.config.id2label``.
            over_256: what is done with more than 256 ids, as for :meth:`add_instances`.

        Raises:
            ManifestError: naming the item, if it is no such result; and as :meth:`add_panoptic`,
                :meth:`add_semantic` and :meth:`add` do.
            StorageError: if the mask cannot be stored.
        """
        size = other.get("height"), other.get("width")
        found = huggingface_output(result, id2label, over_256, size, str(reference_id))
        self._add_output(reference_id, found, other)

    def _add_output(self, reference_id: str, found: Output, other: dict[str, Any]) -> None:
        findings = (*found.findings, *other.pop("findings", ()))
        self.add(reference_id, found.mask, found.segments, findings=findings, **other)
