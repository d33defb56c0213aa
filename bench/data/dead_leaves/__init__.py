"""The dead leaves world: seeded scenes of occluding textured leaves with exact ground truth, at 256 px.

After Lee, Mumford and Huang (2001, "Occlusion models for natural images") and Baradad et al. (2021, "Learning
to see by looking at noise"): leaves whose radius follows a power law, painted back to front, share the occlusion
and scale statistics of photographs. Ours carry parts, so that one click is ambiguous.
"""

from bench.data.dead_leaves.crowded import VAL_IMAGES, world_root
from bench.data.dead_leaves.scene import SIZE, Leaf, Scene, draw_scene

__all__ = ["SIZE", "VAL_IMAGES", "Leaf", "Scene", "draw_scene", "world_root"]
