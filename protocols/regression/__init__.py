"""The regression gate: what the micro tables give now beside what is expected of them."""
