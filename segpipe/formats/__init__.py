"""Other formats, read into manifests and written from predictions."""
