"""Every mask in an image, asked for by a grid of points: `models.everything.segment.segment_everything`."""
