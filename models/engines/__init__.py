"""How networks compute: the published operations, the same sums faster, or in half precision."""
