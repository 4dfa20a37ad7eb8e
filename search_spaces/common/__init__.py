"""What every room shares: user-facing errors, whole-file writing, units, registries, settings, progress bars.

Nothing here imports torch. `settings` and `progress` import pydantic and rich, so they are imported where needed.
"""
