"""Every law on every operation of the reference: the main job."""
