"""Read models that can be thrown away and built again from the log."""
