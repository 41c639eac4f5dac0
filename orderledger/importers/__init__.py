"""
Importers of recorded history: a file in, commands out, every line of it accounted for.
"""
