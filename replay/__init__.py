"""Fold, upcast, rebuild, verify and export what the log already holds."""
