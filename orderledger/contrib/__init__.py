"""Integrations with web frameworks; each imports its framework, nothing else here does."""
