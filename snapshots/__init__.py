"""Saved states of long streams, always checkable against their fold."""
